/* SPDX-License-Identifier: MIT */
/*
 * syn.c -- SYNs as whole Ethernet frames, a batch a system call, from as many sources as one likes.
 *
 * Answers are counted by packet sockets with a filter, of which nobody reads: the kernel's own
 * statistics have the number, whether a packet found room or not.
 *
 * Rejected: a raw IP socket (a route look-up a packet), a transmit ring (more set-up, no need).
 */
#include "bench/fence/flood.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "bench/lib/rng.h"

#define BATCH         64
#define BATCHES_MAX   16 /* a turn: what is more behind than that is left out of the turn */
#define TURN_NS       1000000
#define SETTLE_NS     20000000 /* for the last answers */
#define FRAME_MAX     128
#define TCP_BYTES     24 /* with the option MSS */
#define PORT_FIRST    1024
#define PORTS         64000
#define TTL           64
#define FLAG_SYN      0x02
#define FLAG_RST      0x04
#define FLAG_ACK      0x10
#define TCP_FLAGS_AT  13
#define V4_HEADER_END (ETH_HLEN + 20)
#define V6_HEADER_END (ETH_HLEN + 40)

struct flooder {
	const struct flood *flood;
	int fd;
	int acks_fd;
	int resets_fd;
	bool v6;
	size_t header; /* before TCP */
	size_t bytes;
	struct rng rng;
	uint8_t frames[BATCH][FRAME_MAX];
	struct iovec iov[BATCH];
	struct mmsghdr messages[BATCH];
};

/* ---- frames ---- */

static uint32_t sum_add(uint32_t sum, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i + 1 < n; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return sum;
}

static uint16_t sum_end(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void fill_v4(struct flooder *f, uint8_t *frame, const struct host *source, uint32_t *sum)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons(sizeof(ip) + TCP_BYTES),
		.ttl = TTL,
		.protocol = IPPROTO_TCP,
		.id = (uint16_t)rng_u64(&f->rng),
		.saddr = source->v4.sin_addr.s_addr,
		.daddr = f->flood->target.v4.sin_addr.s_addr,
	};

	ip.check = sum_end(sum_add(0, &ip, sizeof(ip)));
	memcpy(frame + ETH_HLEN, &ip, sizeof(ip));
	*sum = sum_add(0, frame + ETH_HLEN + offsetof(struct iphdr, saddr), 8);
}

static void fill_v6(struct flooder *f, uint8_t *frame, const struct host *source, uint32_t *sum)
{
	struct ip6_hdr ip = {
		.ip6_flow = htonl(6u << 28),
		.ip6_plen = htons(TCP_BYTES),
		.ip6_nxt = IPPROTO_TCP,
		.ip6_hlim = TTL,
		.ip6_src = source->v6.sin6_addr,
		.ip6_dst = f->flood->target.v6.sin6_addr,
	};

	memcpy(frame + ETH_HLEN, &ip, sizeof(ip));
	*sum = sum_add(0, frame + ETH_HLEN + offsetof(struct ip6_hdr, ip6_src), 32);
}

static void fill(struct flooder *f, uint8_t *frame, uint64_t i)
{
	static const uint8_t mss[] = {TCPOPT_MAXSEG, TCPOLEN_MAXSEG, 0x05, 0xb4};
	const struct host source = flood_source(f->flood, i);
	struct tcphdr tcp = {
		.source = htons((uint16_t)(PORT_FIRST + rng_u64(&f->rng) % PORTS)),
		.dest = htons(host_port(&f->flood->target)),
		.seq = (uint32_t)rng_u64(&f->rng),
		.doff = TCP_BYTES / 4,
		.syn = 1,
		.window = htons(64240),
	};
	uint32_t sum;

	(f->v6 ? fill_v6 : fill_v4)(f, frame, &source, &sum);
	sum += IPPROTO_TCP + TCP_BYTES;
	sum = sum_add(sum, mss, sizeof(mss));
	tcp.check = sum_end(sum_add(sum, &tcp, sizeof(tcp)));
	memcpy(frame + f->header, &tcp, sizeof(tcp));
	memcpy(frame + f->header + sizeof(tcp), mss, sizeof(mss));
}

/* ---- sockets ---- */

static int device_index(const struct flood *flood, uint8_t own[6], struct err *err)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int index = -1;

	(void)memcpy(request.ifr_name, flood->device, sizeof(flood->device));
	if (fd >= 0 && ioctl(fd, SIOCGIFHWADDR, &request) == 0) {
		memcpy(own, request.ifr_hwaddr.sa_data, 6);
		index = (int)if_nametoindex(flood->device);
	}
	if (fd >= 0)
		close(fd);
	return index > 0 ? index : err_set(err, "%s: no such device", flood->device);
}

static int packet_socket(int index, int protocol, struct err *err)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons((uint16_t)protocol),
		.sll_ifindex = index,
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	int error;

	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	error = errno;
	if (fd >= 0)
		close(fd);
	return err_set(err, "packet socket: %s", strerror(error));
}

/* A socket that takes the target's segments with exactly these flags; -1. */
static int count_socket(struct flooder *f, int index, uint8_t mask, uint8_t want, struct err *err)
{
	const uint32_t next_header = f->v6 ? ETH_HLEN + 6 : ETH_HLEN + 9;
	const uint32_t tcp = f->v6 ? V6_HEADER_END : V4_HEADER_END;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, next_header),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 6),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, tcp),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, host_port(&f->flood->target), 0, 4),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, tcp + TCP_FLAGS_AT),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, want, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 64),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog program = {COUNT_OF(code), code};
	const int small = 1;
	int fd = packet_socket(index, f->v6 ? ETH_P_IPV6 : ETH_P_IP, err);
	struct tpacket_stats none;
	socklen_t n = sizeof(none);

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0) {
		close(fd);
		return err_set(err, "SO_ATTACH_FILTER: %s", strerror(errno));
	}
	(void)getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &none, &n);
	return fd;
}

static uint64_t counted(int fd)
{
	struct tpacket_stats stats = {0};
	socklen_t n = sizeof(stats);

	(void)getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &n);
	return stats.tp_packets; /* those that were dropped are in it */
}

static int flooder_open(struct flooder *f, const struct flood *flood, struct err *err)
{
	const int one = 1;
	struct ethhdr ether;
	int index = device_index(flood, ether.h_source, err);

	*f = (struct flooder){.flood = flood, .fd = -1, .acks_fd = -1, .resets_fd = -1};
	if (index < 0)
		return -1;
	f->v6 = flood->target.any.sa_family == AF_INET6;
	f->header = f->v6 ? V6_HEADER_END : V4_HEADER_END;
	f->bytes = f->header + TCP_BYTES;
	f->rng.state = flood_now_ns();
	f->fd = packet_socket(index, 0, err);
	if (f->fd < 0)
		return -1;
	(void)setsockopt(f->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one));
	f->acks_fd = count_socket(f, index, FLAG_SYN | FLAG_ACK, FLAG_SYN | FLAG_ACK, err);
	f->resets_fd = count_socket(f, index, FLAG_RST, FLAG_RST, err);
	memcpy(ether.h_dest, flood->mac, sizeof(ether.h_dest));
	ether.h_proto = htons(f->v6 ? ETH_P_IPV6 : ETH_P_IP);
	for (size_t i = 0; i < BATCH; i++) {
		memcpy(f->frames[i], &ether, ETH_HLEN);
		f->iov[i] = (struct iovec){f->frames[i], f->bytes};
		f->messages[i].msg_hdr = (struct msghdr){.msg_iov = &f->iov[i], .msg_iovlen = 1};
	}
	return f->acks_fd < 0 || f->resets_fd < 0 ? -1 : 0;
}

static void flooder_close(struct flooder *f)
{
	const int fds[] = {f->fd, f->acks_fd, f->resets_fd};

	for (size_t i = 0; i < COUNT_OF(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* ---- the flood ---- */

static void send_batch(struct flooder *f, struct flood_counts *counts, size_t n)
{
	size_t sent = 0;

	for (size_t i = 0; i < n; i++)
		fill(f, f->frames[i], counts->attempts + i);
	while (sent < n) {
		int did = sendmmsg(f->fd, f->messages + sent, (unsigned)(n - sent), 0);

		if (did > 0)
			counts->octets_out += (uint64_t)did * f->bytes;
		else
			counts->send_errors++;
		sent += did > 0 ? (size_t)did : 1;
	}
	counts->attempts += n;
}

int syn_flood(const struct flood *flood, struct flood_counts *counts, struct err *err)
{
	const struct timespec turn = {.tv_nsec = TURN_NS}, settle = {.tv_nsec = SETTLE_NS};
	static struct flooder f;
	uint64_t started, now;

	if (flooder_open(&f, flood, err) < 0) {
		flooder_close(&f);
		return -1;
	}
	started = now = flood_now_ns();
	while (!flood_over(flood, started, now, counts->attempts)) {
		uint64_t due = flood_due(
			flood, started, now, counts->attempts, (uint64_t)BATCH * BATCHES_MAX);

		for (; due > 0; due -= min_size(due, BATCH))
			send_batch(&f, counts, min_size(due, BATCH));
		(void)nanosleep(&turn, NULL);
		now = flood_now_ns();
	}
	(void)nanosleep(&settle, NULL);
	counts->syn_acks = counted(f.acks_fd);
	counts->resets = counted(f.resets_fd);
	flooder_close(&f);
	return 0;
}
