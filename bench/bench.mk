# The load tools (BENCH_PROGRAMS), see bench/man. Included by the Makefile; objects are made by its pattern rule.

BENCH_LIB_SRC = $(wildcard bench/lib/*.c)
BENCH_LOAD_SRC = $(wildcard bench/load/*.c)
BENCH_SINK_SRC = $(wildcard bench/sink/*.c)
BENCH_BASE_OBJ = $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard gateway/base/*.c gateway/tls/*.c) gateway/version.c)
BENCH_LIB_OBJ = $(BENCH_LIB_SRC:%.c=$(BUILD)/obj/%.o)
BENCH_LOAD_OBJ = $(BENCH_LOAD_SRC:%.c=$(BUILD)/obj/%.o)
BENCH_SINK_OBJ = $(BENCH_SINK_SRC:%.c=$(BUILD)/obj/%.o)

$(BUILD)/postern-load: $(BENCH_LOAD_OBJ) $(BENCH_LIB_OBJ) $(BENCH_BASE_OBJ)
$(BUILD)/postern-sink: $(BENCH_SINK_OBJ) $(BENCH_LIB_OBJ) $(BENCH_BASE_OBJ)
$(BENCH_PROGRAMS):
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs libssl libcrypto) -lm

# The unit tests of these tools link what they test, besides the rooms.
BENCH_TEST_OBJ = $(BENCH_LIB_OBJ) $(patsubst %,$(BUILD)/obj/bench/%.o,load/content load/stats sink/fault sink/numbers)
$(BUILD)/tests/unit/bench: $(BENCH_TEST_OBJ)
$(BUILD)/tests/unit/bench: PKG_LIBS += -lm

# So does the fuzzer of what they read.
FUZZ_BENCH_OBJ = $(patsubst %,$(BUILD_ROOT)/fuzz/obj/bench/lib/%.o,mark reply)
$(BUILD_ROOT)/fuzz/bench_dialog: FUZZ_OBJ += $(FUZZ_BENCH_OBJ)
$(BUILD_ROOT)/fuzz/bench_dialog: $(FUZZ_BENCH_OBJ)
.SECONDARY: $(FUZZ_BENCH_OBJ)

# Tools of bench/fence/run: built for tests, not installed.
BENCH_FLOOD_OBJ = $(patsubst %,$(BUILD)/obj/bench/fence/%.o,flood syn talk)
$(BUILD)/bench/flood: $(BENCH_FLOOD_OBJ) $(BENCH_LIB_OBJ) $(BENCH_BASE_OBJ)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs libssl libcrypto) -lm
$(BUILD)/bench/floor: $(BUILD)/obj/bench/fence/floor.o
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs libbpf)
tests: $(BUILD)/bench/flood $(BUILD)/bench/floor

# The fence's proof, measured: bench/results/fence.json and FENCE.md. As root, on a quiet machine.
.PHONY: bench-fence
bench-fence: all $(addprefix $(BUILD)/bench/,flood floor cost)
	@BUILD=$(BUILD) exec bench/fence/run

# What it adds to a session, in instructions, on an emulated machine: FENCE-INSTRUCTIONS.md.
.PHONY: bench-fence-instructions
bench-fence-instructions: all $(BUILD)/bench/floor $(VM_PROGRAMS)
	@BUILD=$(BUILD) exec bench/fence/instructions

# Memory of idle sessions (bench/results/IDLE.md), and a million messages again and again (CONSTANCY.md).
.PHONY: bench-idle bench-constancy
bench-idle: all $(VM_PROGRAMS)
	@BUILD=$(BUILD) exec bench/idle/run --only clear,tls,vm
bench-constancy: all
	@BUILD=$(BUILD) exec bench/idle/run --only messages $(BENCH_ARGS)

# User-space instructions a message against bench/results/instructions.json; after a change that is meant, the
# figures are made anew.
.PHONY: bench-check bench-check-update
bench-check: deps
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) exec bench/instructions/run
bench-check-update: deps
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) exec bench/instructions/run --update

# The comparison with other servers: bench/results/REPORT.md. As root. `bench-peers` fetches the others.
$(BUILD)/bench/handshake: $(BUILD)/obj/bench/compare/handshake.o
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs libssl libcrypto)
tests: $(BUILD)/bench/handshake

.PHONY: bench bench-full bench-peers
bench-peers:
	@bench/compare/install
bench bench-full: deps
	@$(MAKE) --no-print-directory all $(BUILD)/bench/handshake
	@bench/compare/install || true
	@BUILD=$(BUILD) exec bench/compare/run $(if $(filter bench-full,$@),--full) $(BENCH_ARGS)
# What kernel TLS costs and saves, in instructions, in a test machine: bench/results/ktls.json, KTLS.md.
$(BUILD)/bench/cputime: $(BUILD)/obj/bench/ktls/cputime.o
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $^
tests: $(BUILD)/bench/cputime
.PHONY: bench-ktls
bench-ktls: deps
	@$(MAKE) --no-print-directory all tests
	@BUILD=$(BUILD) exec bench/ktls/run $(KTLS_ARGS)
