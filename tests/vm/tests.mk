# SPDX-License-Identifier: MIT
#
# Builds the client of the test machines. VM_PROGRAMS is what tests/vm/run packs from here; it packs
# the kernel tests, postern, posternctl and postern-sink besides.

BUILD ?= build
VM_PROGRAMS = $(BUILD)/tests/vm/peer
VM_PEER_OBJ = $(addprefix $(BUILD)/tests/vm/obj/,peer.o peer_dialog.o)

$(BUILD)/tests/vm/obj/%.o: tests/vm/%.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(CFLAGS) $(shell pkg-config --cflags libssl) -MMD -MP -c -o $@ $<

$(BUILD)/tests/vm/peer: $(VM_PEER_OBJ)
	$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(shell pkg-config --libs libssl libcrypto) -pthread

-include $(wildcard $(BUILD)/tests/vm/obj/*.d)
