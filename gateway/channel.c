/* SPDX-License-Identifier: MIT */
/* channel.c -- packets between parent and child: a kind, a text, perhaps a descriptor; and blocks of
 * octets behind such a descriptor, for what is longer. */
#include "gateway.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

union cmsg_space {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int channel_send(int channel, enum channel_kind kind, const char *text, int fd)
{
	uint8_t packet[1 + CHANNEL_TEXT_MAX];
	size_t n = min_size(strlen(text), CHANNEL_TEXT_MAX - 1);
	struct iovec iov = {packet, 1 + n};
	union cmsg_space space = {0};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	packet[0] = (uint8_t)kind;
	memcpy(packet + 1, text, n);
	if (fd >= 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = space.bytes;
		msg.msg_controllen = sizeof(space.bytes);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	}
	while (sendmsg(channel, &msg, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int channel_receive(int channel, struct channel_packet *packet)
{
	uint8_t bytes[1 + CHANNEL_TEXT_MAX];
	struct iovec iov = {bytes, sizeof(bytes) - 1};
	union cmsg_space space = {0};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = space.bytes,
		.msg_controllen = sizeof(space.bytes)};
	struct cmsghdr *cmsg;
	ssize_t n;

	do
		n = recvmsg(channel, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n == 0 || errno == ECONNRESET ? -EPIPE : -errno;
	packet->kind = (enum channel_kind)bytes[0];
	memcpy(packet->text, bytes + 1, (size_t)n - 1);
	packet->text[n - 1] = '\0';
	packet->fd = -1;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg != NULL && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(&packet->fd, CMSG_DATA(cmsg), sizeof(int));
	return 0;
}

int channel_block_make(const char *name, struct span block)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	while (fd >= 0 && block.n > 0) {
		ssize_t n = write(fd, block.p, block.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			close(fd);
			return -1;
		}
		span_take(&block, (size_t)n);
	}
	return fd;
}

int channel_block_take(int fd, uint8_t **block, size_t *n)
{
	struct stat st;
	int res = -1;

	*block = NULL;
	*n = 0;
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && st.st_size > 0)
		*block = malloc((size_t)st.st_size);
	if (*block != NULL && pread(fd, *block, (size_t)st.st_size, 0) == st.st_size) {
		*n = (size_t)st.st_size;
		res = 0;
	}
	close(fd);
	if (res != 0) {
		free(*block);
		*block = NULL;
	}
	return res;
}
