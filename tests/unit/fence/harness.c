/* SPDX-License-Identifier: MIT */
/* harness.c -- see harness.h. */
#include "harness.h"

#include "base/clock.h"

static uint64_t now_ms;
static uint64_t real_us;

struct fence_settings fence_settings_free(void)
{
	return (struct fence_settings){
		.mode = FENCE_MODE_USER,
		.prefix_v4 = 32,
		.prefix_v6 = 64,
		.sources_max = 64,
		.behaved_factor = 10,
		.behaved_ms = 3600000,
		.strikes_max = 0,
		.penalty_ms = 60000,
	};
}

struct fence *fence_start(const struct fence_settings *settings)
{
	struct fence *fence = NULL;
	struct err err = {{0}};

	now_ms = 1000000;
	clock_set_for_test(&now_ms, &real_us);
	cr_assert_eq(fence_open(&fence, settings, NULL, 0, NULL, 0, &err), 0, "%s", err.text);
	return fence;
}

void fence_end(struct fence *fence)
{
	fence_close(fence);
	clock_set_for_test(NULL, NULL);
}

void clock_pass(uint64_t ms)
{
	now_ms += ms;
}

struct network network_of_text(const char *text)
{
	struct network network;

	cr_assert(network_parse(text, &network), "%s", text);
	return network;
}

struct address address_of(const char *text)
{
	struct network network = network_of_text(text);
	struct address address;

	cr_assert_eq(network.bits, 128, "%s", text);
	memcpy(address.octets, network.address, NETWORK_BYTES);
	return address;
}

struct address address_number(uint32_t n)
{
	struct address address = address_of("10.0.0.0");

	address.octets[13] = (uint8_t)(n >> 16);
	address.octets[14] = (uint8_t)(n >> 8);
	address.octets[15] = (uint8_t)n;
	return address;
}

enum fence_reason enter(struct fence *fence, struct fence_client *client, const char *text)
{
	return fence_enter(fence, client, address_of(text).octets, true, FENCE_PLAIN);
}

struct fence_entry entry_of(struct fence *fence, const char *text)
{
	struct fence_entry entry = {0};
	uint8_t source[NETWORK_BYTES];

	fence_source_of(&fence->rules, address_of(text).octets, source);
	cr_assert(fence_limiter_find(fence->limiter, source, &entry), "%s", text);
	return entry;
}

uint64_t counted(struct fence *fence, enum fence_class class, enum fence_reason reason)
{
	struct fence_counts counts;

	fence_counts(fence, &counts);
	return counts.by[1][class][reason].packets;
}
