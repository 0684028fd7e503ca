# SPDX-License-Identifier: MIT
#
# Builds the programs of the test machines: the client, and the one that looks at the fence from outside.
# VM_PROGRAMS is what tests/vm/run packs from here; it packs the kernel tests, tests/bpf, postern,
# posternctl, postern-sink and postern-load besides.

BUILD ?= build
VM_PROGRAMS = $(addprefix $(BUILD)/tests/vm/,peer fence)
VM_OBJ = $(BUILD)/tests/vm/obj

$(VM_OBJ)/%.o: tests/vm/%.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(CFLAGS) $(shell pkg-config --cflags libssl) -MMD -MP -c -o $@ $<

$(VM_OBJ)/fence.o: $(BUILD)/bpf/fence.skel.h
$(VM_OBJ)/fence.o: CFLAGS += -I. -I$(BUILD)/bpf

$(BUILD)/tests/vm/peer: $(VM_OBJ)/peer.o $(VM_OBJ)/peer_dialog.o
	$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(shell pkg-config --libs libssl libcrypto) -pthread

$(BUILD)/tests/vm/fence: $(VM_OBJ)/fence.o $(VM_OBJ)/peer_dialog.o
	$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(shell pkg-config --libs libbpf libssl libcrypto) -pthread

-include $(wildcard $(VM_OBJ)/*.d)
