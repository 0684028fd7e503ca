/* SPDX-License-Identifier: MIT */
/*
 * probe.c -- what this kernel's io_uring offers, found by asking and trying, never by version.
 *
 * Set-up flags are tried best first. Operations are asked for (IORING_REGISTER_PROBE). Multishot
 * receives and accepts have no flag to ask for: each is tried once on a throw-away Unix socket,
 * where an old kernel answers -EINVAL or completes without F_MORE.
 *
 * When io_uring cannot be used at all, the one sentence an operator gets says which of the four
 * reasons it is (sysctl, seccomp, kernel, memory) and what to do.
 */
#include "ring/ring-private.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#define DISABLED_FILE "/proc/sys/kernel/io_uring_disabled"
#define STATUS_FILE   "/proc/self/status"

#define CQ_PER_SQ     4
#define PROBE_ENTRIES 8
#define PROBE_WAIT_S  2
#define TRY_BUFFERS   4
#define TRY_BYTES     256

/* ---- why not ---- */

/* The sysctl's value; 0 also where the kernel has none. */
static int sysctl_disabled(void)
{
	FILE *file = fopen(DISABLED_FILE, "re");
	int value = 0;

	if (file == NULL)
		return 0;
	if (fscanf(file, "%d", &value) != 1)
		value = 0;
	fclose(file);
	return value;
}

static bool seccomp_filtered(void)
{
	FILE *file = fopen(STATUS_FILE, "re");
	char line[256];
	int mode = 0;

	if (file == NULL)
		return false;
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "Seccomp: %d", &mode) == 1)
			break;
	}
	fclose(file);
	return mode == 2;
}

static int refused(struct err *err, const char *call, int error)
{
	int disabled = error == EPERM ? sysctl_disabled() : 0;

	if (disabled == 1)
		return err_set(err,
			"io_uring is kept from this user (kernel.io_uring_disabled is 1): run "
			"`sysctl kernel.io_uring_disabled=0`, or add the user to the group that "
			"kernel.io_uring_group names");
	if (disabled != 0)
		return err_set(err,
			"io_uring is disabled on this machine (kernel.io_uring_disabled is %d): "
			"run `sysctl kernel.io_uring_disabled=0`",
			disabled);
	if (error == EPERM || (error == ENOSYS && seccomp_filtered()))
		return err_set(err,
			"a seccomp filter forbids io_uring (%s: %s; the sysctl "
			"kernel.io_uring_disabled is not the reason): let the container's or "
			"service's profile allow io_uring_setup, io_uring_enter and "
			"io_uring_register",
			call, strerror(error));
	if (error == ENOSYS)
		return err_set(err,
			"this kernel is built without io_uring: Linux 6.1 or newer with "
			"CONFIG_IO_URING is needed");
	if (error == ENOMEM)
		return ring_memory_short(err, call, error);
	return err_set(err, "io_uring cannot be used: %s: %s", call, strerror(error));
}

static int lacking(struct err *err, const char *what)
{
	return err_set(err, "this kernel's io_uring lacks %s: Linux 6.1 or newer is needed", what);
}

/* ---- set-up ---- */

static const unsigned setup_flags[] = {
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
	IORING_SETUP_SUBMIT_ALL,
	0,
};

/* -errno */
static int setup_best(struct io_uring *uring, uint32_t entries, struct io_uring_params *params)
{
	int ret = -EINVAL;

	for (size_t i = 0; i < COUNT_OF(setup_flags) && ret == -EINVAL; i++) {
		*params = (struct io_uring_params){
			.flags = setup_flags[i] | IORING_SETUP_CQSIZE,
			.cq_entries = entries * CQ_PER_SQ,
		};
		ret = io_uring_queue_init_params(entries, uring, params);
	}
	return ret;
}

int ring_uring_open(struct io_uring *uring, uint32_t entries, struct ring_features *features,
	struct ring_patience *patience, struct err *err)
{
	struct io_uring_params params;
	int ret;

	do {
		ret = setup_best(uring, entries, &params);
	} while (ring_memory_again(patience, "io_uring_setup", ret));
	if (ret < 0)
		return refused(err, "io_uring_setup", -ret);
	features->single_issuer = params.flags & IORING_SETUP_SINGLE_ISSUER;
	features->defer_taskrun = params.flags & IORING_SETUP_DEFER_TASKRUN;
	return 0;
}

/* ---- asking ---- */

static const struct {
	uint8_t op;
	const char *name;
} ops_needed[] = {
	{IORING_OP_ACCEPT, "accept"},
	{IORING_OP_RECV, "recv"},
	{IORING_OP_RECVMSG, "recvmsg"},
	{IORING_OP_SEND, "send"},
	{IORING_OP_SENDMSG, "sendmsg"},
	{IORING_OP_CONNECT, "connect"},
	{IORING_OP_SHUTDOWN, "shutdown"},
	{IORING_OP_OPENAT, "openat"},
	{IORING_OP_CLOSE, "close"},
	{IORING_OP_READ, "read"},
	{IORING_OP_WRITE, "write"},
	{IORING_OP_WRITEV, "writev"},
	{IORING_OP_FSYNC, "fsync"},
	{IORING_OP_SYNC_FILE_RANGE, "sync_file_range"},
	{IORING_OP_MKDIRAT, "mkdirat"},
	{IORING_OP_LINKAT, "linkat"},
	{IORING_OP_RENAMEAT, "renameat"},
	{IORING_OP_UNLINKAT, "unlinkat"},
	{IORING_OP_ASYNC_CANCEL, "cancel"},
	{IORING_OP_SOCKET, "socket"},
	{IORING_OP_TIMEOUT, "timeout"},
	{IORING_OP_FALLOCATE, "fallocate"},
};

static int probe_ops(struct io_uring *uring, struct ring_features *features, struct err *err)
{
	struct io_uring_probe *probe =
		calloc(1, sizeof(*probe) + 256 * sizeof(struct io_uring_probe_op));
	const char *missing = NULL;
	int ret;

	if (probe == NULL)
		return err_set(err, "no memory to probe io_uring");
	ret = io_uring_register_probe(uring, probe, 256);
	for (size_t i = 0; i < COUNT_OF(ops_needed) && missing == NULL; i++) {
		if (!io_uring_opcode_supported(probe, ops_needed[i].op))
			missing = ops_needed[i].name;
	}
	features->splice = io_uring_opcode_supported(probe, IORING_OP_SPLICE);
	free(probe);
	if (ret < 0)
		return refused(err, "io_uring_register", -ret);
	if (missing != NULL)
		return lacking(err, missing);
	if (!(uring->features & IORING_FEAT_EXT_ARG))
		return lacking(err, "a wait with a time limit");
	if (!(uring->features & IORING_FEAT_NODROP))
		return lacking(err, "an overflow list for completions");
	return 0;
}

/* ---- trying ---- */

struct trial {
	struct io_uring *uring;
	uint8_t *page; /* buffer ring, then the buffers */
	size_t page_bytes;
	int error; /* of io_uring_enter itself, if any */
};

/* Does the operation in `sqe` complete well and say that more will come? */
static bool is_multishot(struct trial *trial, struct io_uring_sqe *sqe, int *res)
{
	struct __kernel_timespec ts = {.tv_sec = PROBE_WAIT_S};
	struct io_uring_cqe *cqe;
	bool ours = false;
	bool more = false;
	int ret = 0;

	io_uring_sqe_set_data(sqe, sqe);
	while (!ours && (ret >= 0 || ret == -EINTR)) {
		ret = io_uring_submit_and_wait_timeout(trial->uring, &cqe, 1, &ts, NULL);
		if (ret < 0)
			continue;
		ours = io_uring_cqe_get_data(cqe) == sqe; /* or an earlier trial's end */
		more = cqe->res >= 0 && (cqe->flags & IORING_CQE_F_MORE);
		*res = cqe->res;
		io_uring_cqe_seen(trial->uring, cqe);
	}
	if (!ours && ret != -ETIME)
		trial->error = -ret;
	return ours && more;
}

static bool try_accept(struct trial *trial)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX}; /* the kernel picks a name */
	socklen_t n = sizeof(address);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int accepted = -1;
	bool ok = false;

	if (listener >= 0 && client >= 0 &&
		bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0 &&
		listen(listener, 1) == 0 &&
		getsockname(listener, (struct sockaddr *)&address, &n) == 0 &&
		connect(client, (struct sockaddr *)&address, n) == 0) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(trial->uring);

		io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
		ok = is_multishot(trial, sqe, &accepted);
	}
	if (accepted >= 0)
		close(accepted);
	if (client >= 0)
		close(client);
	if (listener >= 0)
		close(listener);
	return ok;
}

static bool try_recv(struct trial *trial, bool with_msg)
{
	struct io_uring_sqe *sqe;
	struct msghdr msg;
	int pair[2];
	int res = 0;
	bool ok = false;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	sqe = io_uring_get_sqe(trial->uring);
	ring_msg_init(&msg);
	if (with_msg)
		io_uring_prep_recvmsg_multishot(sqe, pair[0], &msg, 0);
	else
		io_uring_prep_recv_multishot(sqe, pair[0], NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = RING_BUFFER_GROUP;
	if (write(pair[1], "x", 1) == 1)
		ok = is_multishot(trial, sqe, &res);
	close(pair[0]);
	close(pair[1]);
	return ok &&
	       res == (with_msg ? (int)sizeof(struct io_uring_recvmsg_out) + RING_CONTROL_BYTES + 1
				: 1);
}

static int buffers_register(struct trial *trial)
{
	struct io_uring_buf_reg reg = {
		.ring_addr = (uintptr_t)trial->page,
		.ring_entries = TRY_BUFFERS,
		.bgid = RING_BUFFER_GROUP,
	};
	struct io_uring_buf_ring *shared = (struct io_uring_buf_ring *)trial->page;
	struct io_uring_buf *entries = (struct io_uring_buf *)trial->page;
	uint8_t *memory = trial->page + TRY_BUFFERS * sizeof(entries[0]);
	int ret = io_uring_register_buf_ring(trial->uring, &reg, 0);

	if (ret < 0)
		return ret;
	for (uint16_t i = 0; i < TRY_BUFFERS; i++) {
		entries[i].addr = (uintptr_t)(memory + (size_t)i * TRY_BYTES);
		entries[i].len = TRY_BYTES;
		entries[i].bid = i;
	}
	io_uring_smp_store_release(&shared->tail, TRY_BUFFERS);
	return 0;
}

static int probe_trials(struct trial *trial, struct ring_features *features,
	struct ring_patience *patience, struct err *err)
{
	int ret;

	do {
		ret = buffers_register(trial);
	} while (ring_memory_again(patience, "io_uring_register", ret));
	if (ret == -EPERM || ret == -ENOSYS || ret == -ENOMEM || ret == -EAGAIN)
		return refused(err, "io_uring_register", -ret);
	features->buffer_ring = ret == 0;
	if (!features->buffer_ring)
		return lacking(err, "provided buffer rings");
	features->multishot_accept = try_accept(trial);
	features->multishot_recv = try_recv(trial, false);
	features->multishot_recvmsg = try_recv(trial, true);
	if (trial->error != 0)
		return refused(err, "io_uring_enter", trial->error);
	if (!features->multishot_accept)
		return lacking(err, "multishot accept");
	if (!features->multishot_recv)
		return lacking(err, "multishot recv");
	if (!features->multishot_recvmsg)
		return lacking(err, "multishot recvmsg");
	return 0;
}

int ring_probe_patiently(
	struct ring_features *features, struct ring_patience *patience, struct err *err)
{
	struct io_uring uring;
	struct trial trial = {.uring = &uring, .page_bytes = (size_t)sysconf(_SC_PAGESIZE)};
	int ret = -1;

	*features = (struct ring_features){0};
	trial.page = mmap(
		NULL, trial.page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (trial.page == MAP_FAILED)
		return err_set(err, "no memory to probe io_uring");
	if (ring_uring_open(&uring, PROBE_ENTRIES, features, patience, err) == 0) {
		ret = probe_ops(&uring, features, err);
		if (ret == 0)
			ret = probe_trials(&trial, features, patience, err);
		io_uring_queue_exit(&uring);
	}
	munmap(trial.page, trial.page_bytes);
	return ret;
}

int ring_probe(struct ring_features *features, struct err *err)
{
	struct ring_patience patience = {0};

	return ring_probe_patiently(features, &patience, err);
}
