# SPDX-License-Identifier: MIT
#
# Builds the tests of bpf/ into $(BUILD)/tests/bpf/: they stand on libbpf
# alone (and run in the test machines), agree on the gateway's base and fence besides. BPF_TESTS lists the programs.

BUILD ?= build
BPF_TEST_OBJ = $(BUILD)/tests/bpf/obj
BPF_TEST_SHARED = $(addprefix $(BPF_TEST_OBJ)/,cases.o case_run.o rig.o) $(BUILD)/tests/kernel/obj/ktest.o
BPF_TESTS = $(addprefix $(BUILD)/tests/bpf/,packets sessions pieces signals attacks agree)

$(BPF_TEST_OBJ)/%.o: tests/bpf/%.c $(BUILD)/bpf/fence.skel.h
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) -D_GNU_SOURCE -I. -I$(BUILD)/bpf $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/bpf/packets: $(addprefix $(BPF_TEST_OBJ)/,packets.o frames.o)
$(BUILD)/tests/bpf/sessions: $(addprefix $(BPF_TEST_OBJ)/,sessions.o sockets.o ground.o frames.o)
$(BUILD)/tests/bpf/pieces: $(addprefix $(BPF_TEST_OBJ)/,pieces.o sockets.o ground.o)
$(BUILD)/tests/bpf/attacks: $(addprefix $(BPF_TEST_OBJ)/,attacks.o sockets.o ground.o frames.o)
$(BUILD)/tests/bpf/signals: $(addprefix $(BPF_TEST_OBJ)/,signals.o sockets.o ground.o)
$(BPF_TEST_OBJ)/limiter.o: CFLAGS += -Igateway
$(BUILD)/tests/bpf/agree: $(addprefix $(BPF_TEST_OBJ)/,agree.o limiter.o sockets.o ground.o frames.o) \
	$(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard gateway/base/*.c gateway/fence/*.c))
$(BPF_TESTS): $(BPF_TEST_SHARED)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(shell pkg-config --libs libbpf)

# bench/fence/cost.c measures with the same rig.
BPF_COST = $(BUILD)/bench/cost
$(BUILD)/obj/bench/fence/cost.o: $(BUILD)/bpf/fence.skel.h
$(BUILD)/obj/bench/fence/cost.o: CPPFLAGS += -I$(BUILD)/bpf
$(BPF_COST): $(BUILD)/obj/bench/fence/cost.o $(addprefix $(BPF_TEST_OBJ)/,sockets.o ground.o frames.o) $(BPF_TEST_SHARED)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(shell pkg-config --libs libbpf)
tests: $(BPF_COST)

.SECONDARY: $(BPF_TESTS:$(BUILD)/tests/bpf/%=$(BPF_TEST_OBJ)/%.o)
-include $(wildcard $(BPF_TEST_OBJ)/*.d)
