/* SPDX-License-Identifier: MIT */
/*
 * ticket_file.c -- the file with the keys of session tickets, shared by restarts and machines.
 *
 *	postern-ticket-keys 1
 *	key NAME AES MAC CREATED
 *
 * NAME is 16 octets, AES and MAC 32 each, in hex; CREATED is in seconds since 1970. The first key
 * seals new tickets, the others (two at most) still open old ones. Empty lines and lines that begin
 * with # are skipped, and so is a CR before the LF: the file may have gone through an operator's
 * hands on its way to another machine.
 *
 * The parent makes and replaces the file (0600, a new file renamed over the old one), so a reader
 * sees the old file or the new one, whole. Machines that share it by a network file system all
 * rotate; the last rename wins and the others notice by stat. A file that cannot be replaced is
 * used as it is, with a warning, because tickets are worth less than being up.
 *
 * Not here: locking between machines. Two that rotate in the same second cost a few full
 * handshakes.
 */
#include "tls/tls-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/rand.h>

#include "base/clock.h"
#include "base/event.h"

#define FILE_MAX     16384
#define LINES_MAX    256
#define HEAD         "postern-ticket-keys 1"
#define KEY_WORD     "key "
#define SKEW_MAX_S   86400 /* a key from further in the future: the clocks disagree, rotate */
#define RETRY_S      300   /* after a rotation that failed */
#define TEXT_MAX     1024
#define TEMP_SUFFIX  ".new"
#define TEMP_STALE_S 60 /* a temporary file this old is left over from a crash */

static uint64_t now_s(void)
{
	return clock_real_us() / 1000000;
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Takes n octets in hex and what ends them: a blank, or the end of the line. */
static bool take_hex(struct span *line, uint8_t *out, size_t n)
{
	if (line->n < 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int high = hex_value(line->p[2 * i]);
		int low = hex_value(line->p[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	span_take(line, 2 * n);
	return span_take(line, 1).n == 1 && line->p[-1] == ' ';
}

static bool take_seconds(struct span line, uint64_t *seconds)
{
	*seconds = 0;
	if (line.n < 1 || line.n > 12)
		return false;
	for (size_t i = 0; i < line.n; i++) {
		if (line.p[i] < '0' || line.p[i] > '9')
			return false;
		*seconds = *seconds * 10 + (uint64_t)(line.p[i] - '0');
	}
	return true;
}

static bool parse_key(struct tls_ticket_key *key, struct span line)
{
	struct span word = span_take(&line, strlen(KEY_WORD));

	return span_equal(word, span_str(KEY_WORD)) && take_hex(&line, key->name, 16) &&
	       take_hex(&line, key->aes, 32) && take_hex(&line, key->mac, 32) &&
	       take_seconds(line, &key->created_s);
}

static struct span take_line(struct span *text)
{
	const uint8_t *end = text->n > 0 ? memchr(text->p, '\n', text->n) : NULL;
	struct span line = span_take(text, end != NULL ? (size_t)(end - text->p) : text->n);

	span_take(text, 1);
	while (line.n > 0 && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == ' ' ||
				     line.p[line.n - 1] == '\t'))
		line.n--;
	return line;
}

static bool key_known(const struct tls_ticket_keys *keys, const struct tls_ticket_key *key)
{
	for (size_t i = 0; i < keys->n; i++)
		if (memcmp(keys->keys[i].name, key->name, sizeof(key->name)) == 0)
			return true;
	return false;
}

int tls_ticket_file_parse(
	struct tls_ticket_keys *keys, struct span text, const char *path, struct err *err)
{
	bool head_seen = false;
	const char *what = NULL;
	unsigned number = 0;

	memset(keys, 0, sizeof(*keys));
	while (text.n > 0 && what == NULL) {
		struct span line = take_line(&text);
		struct tls_ticket_key key;

		if (++number > LINES_MAX) {
			what = "too many lines";
		} else if (line.n == 0 || line.p[0] == '#') {
			continue;
		} else if (!head_seen) {
			head_seen = span_equal(line, span_str(HEAD));
			what = head_seen ? NULL : "not a ticket key file of this version";
		} else if (!parse_key(&key, line)) {
			what = "not a key: expected \"key NAME AES MAC CREATED\"";
		} else if (key_known(keys, &key)) {
			what = "a key with this name stands above";
		} else if (keys->n == TLS_TICKET_KEYS_MAX) {
			what = "more than 3 keys";
		} else {
			keys->keys[keys->n++] = key;
		}
		wipe(&key, sizeof(key));
	}
	if (what == NULL && keys->n == 0)
		what = "no key; remove the file and a new one is made";
	if (what == NULL)
		return 0;
	wipe(keys, sizeof(*keys));
	return err_set(err, "%s:%u: %s", path, number > 0 ? number : 1, what);
}

static bool print_hex(struct buf *text, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!buf_printf(text, "%02x", p[i]))
			return false;
	return buf_puts(text, " ");
}

static void print_keys(struct buf *text, const struct tls_ticket_keys *keys)
{
	bool fits = buf_puts(text, HEAD "\n");

	for (size_t i = 0; i < keys->n; i++) {
		const struct tls_ticket_key *key = &keys->keys[i];

		fits = fits && buf_puts(text, KEY_WORD) && print_hex(text, key->name, 16) &&
		       print_hex(text, key->aes, 32) && print_hex(text, key->mac, 32) &&
		       buf_printf(text, "%llu\n", (unsigned long long)key->created_s);
	}
	ASSERT(fits);
}

static int write_all(int fd, struct span bytes)
{
	while (bytes.n > 0) {
		ssize_t n = write(fd, bytes.p, bytes.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		span_take(&bytes, (size_t)n);
	}
	return fsync(fd) == 0 ? 0 : -errno;
}

/* A temporary file that a crash left behind would block every rotation from then on. */
static void remove_stale(const char *temp)
{
	struct stat st;

	if (lstat(temp, &st) == 0 && (uint64_t)st.st_mtime + TEMP_STALE_S < now_s())
		unlink(temp);
}

static int replace_file(const char *path, struct span text, struct stat *seen)
{
	char temp[4096];
	int result;
	int fd;

	if (snprintf(temp, sizeof(temp), "%s" TEMP_SUFFIX, path) >= (int)sizeof(temp))
		return -ENAMETOOLONG;
	remove_stale(temp);
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	result = fchmod(fd, 0600) == 0 ? write_all(fd, text) : -errno;
	if (result == 0 && fstat(fd, seen) != 0)
		result = -errno;
	if (close(fd) != 0 && result == 0)
		result = -errno;
	if (result == 0 && rename(temp, path) != 0)
		result = -errno;
	if (result != 0)
		unlink(temp);
	return result;
}

/* A new key on top; the oldest goes when there are three. */
static int rotate(struct tls_ticket_keys *keys, const char *path, struct stat *seen)
{
	struct tls_ticket_keys next = {.n = min_size(keys->n + 1, TLS_TICKET_KEYS_MAX)};
	char storage[TEXT_MAX];
	struct buf text;
	int result = -EIO;

	buf_init(&text, storage, sizeof(storage));
	memcpy(&next.keys[1], keys->keys, (next.n - 1) * sizeof(next.keys[0]));
	next.keys[0].created_s = now_s();
	if (RAND_bytes(next.keys[0].name, sizeof(next.keys[0].name)) == 1 &&
		RAND_priv_bytes(next.keys[0].aes, sizeof(next.keys[0].aes)) == 1 &&
		RAND_priv_bytes(next.keys[0].mac, sizeof(next.keys[0].mac)) == 1) {
		print_keys(&text, &next);
		result = replace_file(path, buf_span(&text), seen);
	}
	if (result == 0)
		*keys = next;
	wipe(storage, sizeof(storage));
	wipe(&next, sizeof(next));
	return result;
}

static int read_keys(struct tls_ticket_keys *keys, struct tls_ticket_watch *watch, const char *path,
	struct err *err)
{
	struct tls_blob text = {0};
	int result;

	if (tls_file_read(&text, path, &watch->seen, FILE_MAX, err) != 0)
		return -1;
	result = tls_ticket_file_parse(keys, span_of(text.p, text.n), path, err);
	tls_blob_free(&text);
	if (result == 0 && (watch->seen.st_mode & 077) != 0)
		event_text(EVENT_NO_COUNT, "ticket_keys_readable_by_others", "file", path);
	return result;
}

static bool is_due(const struct tls_ticket_key *key, uint32_t rotate_s)
{
	uint64_t now = now_s();

	return rotate_s > 0 &&
	       (now >= key->created_s + rotate_s || key->created_s > now + SKEW_MAX_S);
}

static void watch_set(
	struct tls_ticket_watch *watch, const struct tls_ticket_key *key, uint32_t rotate_s)
{
	watch->due_s = rotate_s > 0 ? key->created_s + rotate_s : 0;
}

static int make_file(struct tls_ticket_keys *keys, struct tls_ticket_watch *watch, const char *path,
	uint32_t rotate_s, struct err *err)
{
	int result;

	keys->n = 0;
	result = rotate(keys, path, &watch->seen);
	if (result != 0)
		return err_set(
			err, "%s: cannot make the ticket key file: %s", path, strerror(-result));
	event_text(EVENT_NO_COUNT, "ticket_keys_made", "file", path);
	watch_set(watch, &keys->keys[0], rotate_s);
	return 0;
}

int tls_ticket_file_load(struct tls_ticket_keys *keys, struct tls_ticket_watch *watch,
	const char *path, uint32_t rotate_s, struct err *err)
{
	struct stat st;

	watch->path = strdup(path);
	if (watch->path == NULL)
		return err_set(err, "%s: out of memory", path);
	if (stat(path, &st) != 0 && errno == ENOENT)
		return make_file(keys, watch, path, rotate_s, err);
	if (read_keys(keys, watch, path, err) != 0)
		return -1;
	watch_set(watch, &keys->keys[0], rotate_s);
	if (!is_due(&keys->keys[0], rotate_s))
		return 0;
	if (rotate(keys, path, &watch->seen) == 0) {
		event_text(EVENT_NO_COUNT, "ticket_keys_rotated", "file", path);
		watch_set(watch, &keys->keys[0], rotate_s);
		return 0;
	}
	event_text(EVENT_NO_COUNT, "ticket_keys_not_rotated", "file", path);
	watch->due_s = now_s() + RETRY_S;
	return 0;
}

bool tls_ticket_watch_stale(const struct tls_ticket_watch *watch)
{
	struct stat st;

	if (watch->path == NULL)
		return false;
	if (watch->due_s != 0 && now_s() >= watch->due_s)
		return true;
	if (stat(watch->path, &st) != 0)
		return errno == ENOENT;
	return st.st_ino != watch->seen.st_ino || st.st_dev != watch->seen.st_dev ||
	       st.st_size != watch->seen.st_size ||
	       st.st_mtim.tv_sec != watch->seen.st_mtim.tv_sec ||
	       st.st_mtim.tv_nsec != watch->seen.st_mtim.tv_nsec;
}
