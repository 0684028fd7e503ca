/* SPDX-License-Identifier: MIT */
/*
 * tls_ticket_file.c -- the ticket key file as an operator, another machine or a disk may have left
 * it. What is accepted has one to three keys with different names; what is refused leaves nothing.
 */
#include "tls/tls-private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct tls_ticket_keys nothing;
	struct tls_ticket_keys keys;
	struct err err = {0};

	if (tls_ticket_file_parse(&keys, span_of(data, size), "t", &err) != 0) {
		ASSERT(strncmp(err.text, "t:", 2) == 0);
		ASSERT(memcmp(&keys, &nothing, sizeof(keys)) == 0);
		return 0;
	}
	ASSERT(keys.n >= 1 && keys.n <= TLS_TICKET_KEYS_MAX);
	for (size_t i = 0; i < keys.n; i++)
		for (size_t k = 0; k < i; k++)
			ASSERT(memcmp(keys.keys[i].name, keys.keys[k].name, TLS_TICKET_NAME_SIZE));
	return 0;
}
