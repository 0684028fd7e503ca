/* SPDX-License-Identifier: MIT */
/*
 * file.c -- the form of the file of kept policies.
 *
 *	postern-sts-policies 1
 *	policy DOMAIN ID FETCHED OCTETS CRC
 *	(OCTETS octets: the policy as it was fetched; a LF)
 *	...
 *	end RECORDS
 *
 * FETCHED is in seconds since 1970; CRC is the CRC32C, in 8 lower case hexadecimal digits, of the
 * line up to the blank before it and of the policy's octets. Domains ascend, so that none is there
 * twice. The file is written whole and renamed: whatever does not fit is damage, and a missing end is.
 * What stands before the damage has its own checksums and is good.
 */
#include "stscache/stscache-private.h"

#include "base/crc32c.h"

#define HEAD               "postern-sts-policies 1\n"
#define RECORD_WORD        "policy "
#define END_WORD           "end "
#define CRC_DIGITS         8
#define SECONDS_DIGITS_MAX 12
#define COUNT_DIGITS_MAX   9

bool stscache_domain_valid(struct span domain)
{
	if (domain.n > STSCACHE_DOMAIN_MAX || !sts_mx_valid(domain) || domain.p[0] == '*')
		return false;
	for (size_t i = 0; i < domain.n; i++)
		if (domain.p[i] >= 'A' && domain.p[i] <= 'Z')
			return false;
	return true;
}

static enum stscache_step damaged(struct stscache_reader *reader, const char *why)
{
	reader->why = why;
	return STSCACHE_DAMAGED;
}

/* The line with its LF, which must come within STSCACHE_LINE_MAX octets; else empty. */
static struct span take_line(struct span *rest)
{
	size_t n = min_size(rest->n, STSCACHE_LINE_MAX);
	const uint8_t *end = n > 0 ? memchr(rest->p, '\n', n) : NULL;

	if (end == NULL)
		return (struct span){0};
	return span_take(rest, (size_t)(end + 1 - rest->p));
}

/* What stands before the next blank, which goes too; at the end: what is left. */
static struct span take_word(struct span *line)
{
	const uint8_t *blank = line->n > 0 ? memchr(line->p, ' ', line->n) : NULL;
	struct span word = span_take(line, blank != NULL ? (size_t)(blank - line->p) : line->n);

	span_take(line, 1);
	return word;
}

/* One way to write each number: no zeros before it. */
static bool read_number(struct span word, size_t digits_max, uint64_t *out)
{
	*out = 0;
	if (word.n == 0 || word.n > digits_max || (word.n > 1 && word.p[0] == '0'))
		return false;
	for (size_t i = 0; i < word.n; i++) {
		if (word.p[i] < '0' || word.p[i] > '9')
			return false;
		*out = *out * 10 + (uint64_t)(word.p[i] - '0');
	}
	return true;
}

static bool read_crc(struct span word, uint32_t *out)
{
	*out = 0;
	if (word.n != CRC_DIGITS)
		return false;
	for (size_t i = 0; i < word.n; i++) {
		const char *digits = "0123456789abcdef";
		const char *digit = word.p[i] != '\0' ? strchr(digits, word.p[i]) : NULL;

		if (digit == NULL)
			return false;
		*out = *out << 4 | (uint32_t)(digit - digits);
	}
	return true;
}

static void copy_word(char *out, struct span word)
{
	memcpy(out, word.p, word.n);
	out[word.n] = '\0';
}

/* Reads the words of a record's line behind the first; *covered is what the checksum is of. */
static bool read_words(struct span line, struct stscache_record *record, uint64_t *octets,
	struct span *covered, uint32_t *crc)
{
	struct span rest = span_of(line.p + strlen(RECORD_WORD), line.n - strlen(RECORD_WORD) - 1);
	struct span domain = take_word(&rest);
	struct span id = take_word(&rest);

	if (!stscache_domain_valid(domain) || !sts_id_valid(id) ||
		!read_number(take_word(&rest), SECONDS_DIGITS_MAX, &record->fetched_real_s) ||
		!read_number(take_word(&rest), COUNT_DIGITS_MAX, octets) || !read_crc(rest, crc))
		return false;
	copy_word(record->domain, domain);
	copy_word(record->id, id);
	*covered = span_of(line.p, (size_t)(rest.p - 1 - line.p));
	return true;
}

static enum stscache_step take_record(
	struct stscache_reader *reader, struct span line, struct stscache_record *record)
{
	struct span covered;
	uint64_t octets;
	uint32_t crc;

	if (!read_words(line, record, &octets, &covered, &crc))
		return damaged(reader, "not a record");
	if (octets == 0 || octets > STS_POLICY_BYTES_MAX || octets >= reader->rest.n)
		return damaged(reader, "a record is cut off");
	record->text = span_take(&reader->rest, octets);
	if (span_take(&reader->rest, 1).p[0] != '\n')
		return damaged(reader, "a record does not end");
	if (crc32c(crc32c(0, covered), record->text) != crc)
		return damaged(reader, "a checksum is wrong");
	if (strcmp(reader->before, record->domain) >= 0)
		return damaged(reader, "domains do not ascend");
	memcpy(reader->before, record->domain, sizeof(reader->before));
	reader->n++;
	return STSCACHE_RECORD;
}

static enum stscache_step take_end(struct stscache_reader *reader, struct span line)
{
	uint64_t n;

	span_take(&line, strlen(END_WORD));
	line.n--;
	if (!read_number(line, COUNT_DIGITS_MAX, &n) || n != reader->n)
		return damaged(reader, "the number of records is wrong");
	if (reader->rest.n > 0)
		return damaged(reader, "something is behind the end");
	return STSCACHE_END;
}

static bool begins_with(struct span line, const char *word)
{
	return line.n > strlen(word) && memcmp(line.p, word, strlen(word)) == 0;
}

enum stscache_step stscache_file_next(
	struct stscache_reader *reader, struct stscache_record *record)
{
	struct span line;

	memset(record, 0, sizeof(*record));
	if (!reader->begun && !span_equal(take_line(&reader->rest), span_str(HEAD)))
		return damaged(reader, "not such a file of this version");
	reader->begun = true;
	line = take_line(&reader->rest);
	if (begins_with(line, RECORD_WORD))
		return take_record(reader, line, record);
	if (begins_with(line, END_WORD))
		return take_end(reader, line);
	return damaged(reader, line.n > 0 ? "not a record" : "the end is missing");
}

bool stscache_file_head(struct buf *out)
{
	return buf_puts(out, HEAD);
}

bool stscache_file_record(const struct stscache_record *record, struct buf *out)
{
	uint32_t start = out->end;
	struct span covered;

	if (!buf_printf(out, RECORD_WORD "%s %s %llu %zu", record->domain, record->id,
		    (unsigned long long)record->fetched_real_s, record->text.n))
		return false;
	covered = span_of(out->p + start, out->end - start);
	return buf_printf(out, " %08x\n", crc32c(crc32c(0, covered), record->text)) &&
	       buf_put(out, record->text) && buf_puts(out, "\n");
}

bool stscache_file_end(uint64_t n, struct buf *out)
{
	return buf_printf(out, END_WORD "%llu\n", (unsigned long long)n);
}
