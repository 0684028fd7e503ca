/* SPDX-License-Identifier: MIT */
/*
 * bpf_trie: networks in an LPM trie, IPv4 as ::ffff:a.b.c.d: the longest prefix answers, in the
 * program and by descriptor. Proves kernel-notes/bpf-lpm-trie.md.
 */
#include "kbpf.h"
#include "kmaps.h"
#include "ktest.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "maps.skel.h"

static struct maps_bpf *maps;
static int nets;

/* bits: of the address's own family. */
static struct kb_net_key key(const char *address, uint32_t bits)
{
	struct kb_net_key out = {.bits = bits};

	if (inet_pton(AF_INET6, address, out.address) == 1)
		return out;
	out.bits = 96 + bits;
	out.address[10] = out.address[11] = 0xff;
	KT_MUST(inet_pton(AF_INET, address, out.address + 12) == 1);
	return out;
}

static int put(const char *address, uint32_t bits, uint32_t value)
{
	struct kb_net_key net = key(address, bits);

	return bpf_map_update_elem(nets, &net, &value, BPF_ANY);
}

/* Asked as the program does and by descriptor: they have to agree. 0: no net. */
static uint32_t match(const char *address)
{
	struct kb_net_key asked = key(address, 128);
	uint32_t value = 0;

	asked.bits = 128;
	memcpy(&maps->bss->asked, &asked, sizeof asked);
	km_run(maps->progs.match, 0, 1);
	if (bpf_map_lookup_elem(nets, &asked, &value) < 0)
		value = 0;
	KT_MUST(value == maps->bss->answer);
	return value;
}

static const struct {
	const char *address;
	uint32_t bits;
	uint32_t value;
} entries[] = {
	{"10.0.0.0", 8, 1},
	{"10.1.0.0", 16, 2},
	{"10.1.2.0", 24, 3},
	{"10.1.2.3", 32, 4},
	{"2001:db8::", 32, 5},
	{"2001:db8:1::", 48, 6},
	{"2001:db8:1::7", 128, 7},
};

static const struct {
	const char *address;
	uint32_t value;
} questions[] = {
	{"10.9.9.9", 1},
	{"10.1.9.9", 2},
	{"10.1.2.9", 3},
	{"10.1.2.3", 4},
	{"11.1.2.3", 0},
	{"9.255.255.255", 0},
	{"2001:db8:2::1", 5},
	{"2001:db8:1::1", 6},
	{"2001:db8:1::7", 7},
	{"2001:db9::1", 0},
	{"::10.1.2.3", 0},
	{"::ffff:10.1.2.3", 4},
};

int main(void)
{
	struct kb_net_key net;
	bool good = true;
	uint32_t value = 9;

	maps = km_begin();
	nets = bpf_map__fd(maps->maps.nets);
	for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
		KT_MUST(put(entries[i].address, entries[i].bits, entries[i].value) == 0);
	for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
		if (match(questions[i].address) != questions[i].value) {
			kt_diag("%s: %u", questions[i].address, match(questions[i].address));
			good = false;
		}
	kt_ok(good, "the longest prefix answers, for IPv6 and for IPv4 as ::ffff:a.b.c.d");

	KT_MUST(put("10.1.2.99", 24, 33) == 0);
	kt_ok(match("10.1.2.9") == 33 && match("10.1.2.3") == 4,
		"bits behind the prefix do not count: 10.1.2.99/24 replaces 10.1.2.0/24");
	net = key("10.1.2.0", 24);
	KT_MUST(bpf_map_delete_elem(nets, &net) == 0);
	kt_ok(match("10.1.2.9") == 2, "without it the shorter one answers");
	kt_ok(bpf_map_delete_elem(nets, &net) < 0 && errno == ENOENT, "it is gone: ENOENT");
	KT_MUST(put("0.0.0.0", 0, 44) == 0);
	kt_ok(match("11.1.2.3") == 44 && match("2001:db9::1") == 0,
		"0.0.0.0/0 is all of IPv4 and nothing of IPv6");

	KT_MUST(put("::", 0, 55) == 0);
	kt_ok(match("2001:db9::1") == 55, "::/0 is the rest");
	kt_ok(put("192.0.2.0", 24, 66) < 0 && errno == ENOSPC, "%d entries, and full: ENOSPC",
		KB_NETS_MAX);
	net = key("::", 0);
	kt_ok(bpf_map_update_elem(nets, &net, &value, BPF_ANY) == 0 && match("2001:db9::1") == 9,
		"but replacing an entry of it works");
	net = key("10.1.2.3", 129);
	net.bits = 129;
	kt_ok(bpf_map_update_elem(nets, &net, &value, BPF_ANY) < 0 && errno == EINVAL,
		"a prefix longer than the key: EINVAL");
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = 0);
	kt_ok(bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "nets", sizeof net, 4, 8, &options) < 0 &&
			errno == EINVAL,
		"without BPF_F_NO_PREALLOC there is no trie: EINVAL");
	maps_bpf__destroy(maps);
	return kt_done();
}
