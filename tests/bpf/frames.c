/* SPDX-License-Identifier: MIT */
/* frames: see frames.h. */
#include "tests/bpf/frames.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#include "tests/bpf/rig.h"

#define IP4_BYTES 20
#define IP6_BYTES 40
#define TCP_BYTES 20

static void put8(struct frame *frame, unsigned value)
{
	KT_MUST(frame->n < sizeof(frame->data));
	frame->data[frame->n++] = (uint8_t)value;
}

static void put16(struct frame *frame, unsigned value)
{
	put8(frame, value >> 8);
	put8(frame, value & 0xff);
}

static void put_bytes(struct frame *frame, const void *data, size_t n)
{
	KT_MUST(frame->n + n <= sizeof(frame->data));
	memcpy(frame->data + frame->n, data, n);
	frame->n += n;
}

static void put_zeros(struct frame *frame, size_t n)
{
	KT_MUST(frame->n + n <= sizeof(frame->data));
	memset(frame->data + frame->n, 0, n);
	frame->n += n;
}

static uint32_t sum16(uint32_t sum, const uint8_t *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum += i % 2 == 0 ? (uint32_t)data[i] << 8 : data[i];
	return sum;
}

static void put_sum(uint8_t *at, uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	at[0] = (uint8_t)(~sum >> 8);
	at[1] = (uint8_t)~sum;
}

static void put_ethernet(struct frame *frame, const struct frame_spec *spec, bool v4)
{
	put_zeros(frame, 12);
	for (unsigned i = 0; i < spec->tags; i++) {
		put16(frame, i == 0 && spec->tag_type ? spec->tag_type : ETHERTYPE_VLAN);
		put16(frame, 0x2007 + i);
	}
	put16(frame, spec->type ? spec->type : v4 ? ETHERTYPE_IP : ETHERTYPE_IPV6);
	frame->ip = frame->n;
}

static void put_v4(struct frame *frame, const struct frame_spec *spec, const uint8_t from[16],
	const uint8_t to[16])
{
	size_t header = IP4_BYTES + spec->options;

	KT_MUST(header <= 60 && header % 4 == 0);
	put8(frame, 0x40 | header / 4);
	put8(frame, 0);
	put16(frame, (unsigned)(header + TCP_BYTES + spec->payload));
	put16(frame, 0x1234);
	put16(frame, (spec->more ? 0x2000u : 0) | spec->fragment / 8u);
	put8(frame, 64);
	put8(frame, spec->protocol ? spec->protocol : IPPROTO_TCP);
	put16(frame, 0);
	put_bytes(frame, from + 12, 4);
	put_bytes(frame, to + 12, 4);
	for (unsigned i = 0; i < spec->options; i++)
		put8(frame, 1); /* no operation */
	put_sum(frame->data + frame->ip + 10, sum16(0, frame->data + frame->ip, header));
}

static void put_extension(struct frame *frame, const struct frame_spec *spec,
	const struct frame_extension *extension, uint8_t next)
{
	size_t bytes = extension->bytes ? extension->bytes : 8;

	put8(frame, next);
	if (extension->number == IPPROTO_FRAGMENT) {
		put8(frame, 0xee); /* reserved: says nothing about a length */
		put16(frame, spec->fragment | spec->more);
		put_zeros(frame, 4);
		return;
	}
	if (extension->number == IPPROTO_AH) {
		put8(frame, (unsigned)(bytes / 4 - 2));
		put_zeros(frame, bytes - 2);
		return;
	}
	put8(frame, (unsigned)(bytes / 8 - 1));
	put8(frame, 1); /* one option: padding */
	put8(frame, (unsigned)(bytes - 4 < 255 ? bytes - 4 : 255));
	put_zeros(frame, bytes - 4);
}

static void put_v6(struct frame *frame, const struct frame_spec *spec, const uint8_t from[16],
	const uint8_t to[16])
{
	uint8_t last = spec->protocol ? spec->protocol : IPPROTO_TCP;
	const struct frame_extension *all = spec->extensions;
	size_t n = 0;

	/* Hop-by-hop options have the number 0, and a length of their own. */
	while (n < FRAME_EXTENSIONS_MAX && (all[n].number || all[n].bytes))
		n++;
	put8(frame, 0x60);
	put_zeros(frame, 5);
	put8(frame, n > 0 ? all[0].number : last);
	put8(frame, 64);
	put_bytes(frame, from, 16);
	put_bytes(frame, to, 16);
	for (size_t i = 0; i < n; i++)
		put_extension(frame, spec, &all[i], i + 1 < n ? all[i + 1].number : last);
}

static void put_tcp(struct frame *frame, const struct frame_spec *spec, const uint8_t from[16],
	const uint8_t to[16], bool v4)
{
	size_t skip = v4 ? 12 : 0;
	uint32_t sum = IPPROTO_TCP;

	frame->tcp = frame->n;
	put16(frame, spec->from_port ? spec->from_port : 40000);
	put16(frame, spec->port ? spec->port : FRAME_PORT);
	put16(frame, spec->seq >> 16);
	put16(frame, spec->seq & 0xffff);
	put16(frame, spec->ack >> 16);
	put16(frame, spec->ack & 0xffff);
	put8(frame, TCP_BYTES / 4 << 4);
	put8(frame, spec->flags);
	put16(frame, 65535);
	put_zeros(frame, 4);
	for (unsigned i = 0; i < spec->payload; i++)
		put8(frame, 'x');
	sum += (uint32_t)(frame->n - frame->tcp);
	sum = sum16(sum, from + skip, 16 - skip);
	sum = sum16(sum, to + skip, 16 - skip);
	put_sum(frame->data + frame->tcp + 16,
		sum16(sum, frame->data + frame->tcp, frame->n - frame->tcp));
}

void frame_set_length(struct frame *frame, size_t ip_bytes)
{
	bool v4 = frame->data[frame->ip] >> 4 == 4;
	uint8_t *at = frame->data + frame->ip + (v4 ? 2 : 4);

	if (!v4)
		ip_bytes = ip_bytes > IP6_BYTES ? ip_bytes - IP6_BYTES : 0;
	at[0] = (uint8_t)(ip_bytes >> 8);
	at[1] = (uint8_t)ip_bytes;
}

void frame_make(struct frame *frame, const struct frame_spec *spec)
{
	uint8_t from[16], to[16];
	bool v4;

	memset(frame, 0, sizeof(*frame));
	case_address(spec->from, from);
	v4 = fence_is_v4(from);
	case_address(spec->to ? spec->to : v4 ? "127.0.0.1" : "::1", to);
	put_ethernet(frame, spec, v4);
	if (v4)
		put_v4(frame, spec, from, to);
	else
		put_v6(frame, spec, from, to);
	put_tcp(frame, spec, from, to, v4);
	if (!v4)
		frame_set_length(frame, frame->n - frame->ip);
}

bool frame_passes(const struct frame *frame)
{
	uint32_t verdict = rig_run(rig.skel->progs.fence_xdp, frame->data, frame->n);

	KT_MUST(verdict == XDP_PASS || verdict == XDP_DROP);
	return verdict == XDP_PASS;
}

/* ---- the XDP program as a place ---- */

static struct {
	struct fence_rules rules;
	struct {
		bool open;
		uint8_t source[16];
		enum fence_standing standing;
	} clients[CASE_CLIENTS_MAX];
	const struct fence_case *test;
} xdp;

static void xdp_begin(const struct fence_case *test, const struct fence_rules *rules)
{
	memset(&xdp, 0, sizeof(xdp));
	xdp.rules = *rules;
	xdp.test = test;
	rig_case(test, rules);
	rig_listener(NULL, FRAME_PORT);
}

static enum fence_standing standing_of(const uint8_t source[16])
{
	const struct case_conduct *behaved = xdp.test->behaved;

	for (size_t i = 0; i < CASE_CONDUCTS_MAX && behaved[i].address; i++) {
		uint8_t address[16], other[16];

		case_address(behaved[i].address, address);
		fence_source_of(&xdp.rules, address, other);
		if (memcmp(source, other, sizeof(other)) == 0 && !behaved[i].expired)
			return FENCE_BEHAVED;
	}
	return FENCE_STRANGER;
}

/* What fence_sockops does at a cgroup. */
static void play(unsigned client, bool open)
{
	enum fence_standing standing = xdp.clients[client].standing;
	struct fence_totals totals;
	struct fence_source source;

	rig_source(xdp.clients[client].source, &source);
	rig_totals(&totals);
	if (open) {
		fence_charge_connection(&xdp.rules, &source, &totals, standing, rig_now_ns());
		source.passed++;
	} else {
		source.gauge[FENCE_OPEN]--;
		totals.gauge[FENCE_OPEN][standing]--;
	}
	rig_source_put(xdp.clients[client].source, &source);
	rig_totals_put(&totals);
	xdp.clients[client].open = open;
}

/* What passes is not counted before it is established. */
static enum fence_reason xdp_connect(const struct case_step *step)
{
	struct frame_spec spec = {.from = step->address, .flags = FRAME_SYN};
	struct rig_counts before;
	struct frame frame;
	uint8_t address[16];
	bool passes;
	int reason;

	frame_make(&frame, &spec);
	rig_counts(&before);
	passes = frame_passes(&frame);
	reason = rig_reason_since(&before, FENCE_NEW);
	KT_MUST(reason >= 0);
	/* Counted as one thing and done as another is a reason that no case expects. */
	if (!passes)
		return (enum fence_reason)reason;
	if (reason != FENCE_REASONS)
		return FENCE_REASONS;
	case_address(step->address, address);
	if (rig_allowed(address))
		return FENCE_ALLOWED;
	fence_source_of(&xdp.rules, address, xdp.clients[step->client].source);
	xdp.clients[step->client].standing = standing_of(xdp.clients[step->client].source);
	play(step->client, true);
	return FENCE_PASS;
}

static enum fence_reason xdp_step(const struct case_step *step)
{
	if (step->kind == CASE_CONNECT)
		return xdp_connect(step);
	if (step->kind == CASE_CLOSE && xdp.clients[step->client].open)
		play(step->client, false);
	return step->want;
}

static void xdp_end(const uint8_t source[16], struct case_sum *sum)
{
	struct fence_source state;

	rig_source(source, &state);
	case_sum_of(&state, rig_now_ns(), sum);
}

const struct case_place place_xdp = {
	.name = "xdp",
	.begin = xdp_begin,
	.step = xdp_step,
	.end = xdp_end,
};
