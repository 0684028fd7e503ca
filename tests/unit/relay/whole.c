/* SPDX-License-Identifier: MIT */
/* whole.c -- see whole.h. */
#include "tests/unit/relay/whole.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/lib/unit.h"

#define RECIPIENTS_MAX 64

struct relay *whole;
struct config whole_config;
struct route_settings whole_routes[WHOLE_ROUTES];
char whole_root[64];

static struct ring *ring;
static struct spool *spool;
static struct store *store;
static struct relay_routes *routes;
static struct tls_client *tls[WHOLE_ROUTES];
static char store_path[96], box_path[96];
static const char *maildirs[1];
static int maildir_fd;
static uint16_t ports[SINKS_MAX];

#define DOMAINS_MAX 4

static const char *const domains[WHOLE_ROUTES][DOMAINS_MAX] = {{"a.example"}, {"b.example"},
	{"ab.example"}, {"smtp.example"}, {"box.example"},
	{"[127.0.0.1]", "example.org", "null.example.org", "gone.example.org"}};
static const char *const titles[WHOLE_ROUTES] = {"a", "b", "ab", "smtp", "box", "mx"};

static void hop_set(unsigned route, enum next_hop_kind kind, unsigned sink)
{
	struct route_settings *settings = &whole_routes[route];
	struct next_hop_settings *hop = &settings->next_hops[settings->next_hops_n++];

	*hop = (struct next_hop_settings){
		.kind = kind,
		.text = sink == 0 ? "sink 0" : "sink 1",
		.host = kind == NEXT_HOP_MX || kind == NEXT_HOP_MAILDIR ? NULL : "127.0.0.1",
		.port = ports[sink],
		.weight = 1,
	};
	if (kind == NEXT_HOP_MAILDIR)
		hop->path = box_path;
}

static void routes_set(void)
{
	for (unsigned i = 0; i < WHOLE_ROUTES; i++)
		whole_routes[i] = (struct route_settings){
			.title = titles[i],
			.domains = domains[i],
			.domains_n = i == WHOLE_MX ? DOMAINS_MAX : 1,
			.connections_max = 4,
			.messages_max = 1000,
			.idle_ms = 10000,
			.recipients_max = 10,
		};
	hop_set(WHOLE_A, NEXT_HOP_LMTP, 0);
	hop_set(WHOLE_B, NEXT_HOP_LMTP, 1);
	hop_set(WHOLE_AB, NEXT_HOP_LMTP, 0);
	hop_set(WHOLE_AB, NEXT_HOP_LMTP, 1);
	hop_set(WHOLE_SMTP, NEXT_HOP_SMTP, 0);
	hop_set(WHOLE_BOX, NEXT_HOP_MAILDIR, 0);
	hop_set(WHOLE_MX, NEXT_HOP_MX, 0);
}

void whole_prepare(void)
{
	ports[0] = sink_open(0);
	ports[1] = sink_open(1);
	(void)snprintf(whole_root, sizeof(whole_root), "/tmp/postern-relay-XXXXXX");
	cr_assert(mkdtemp(whole_root) != NULL);
	(void)snprintf(store_path, sizeof(store_path), "%s/spool", whole_root);
	(void)snprintf(box_path, sizeof(box_path), "%s/box", whole_root);
	cr_assert(mkdir(box_path, 0700) == 0);
	maildirs[0] = box_path;
	routes_set();
	whole_config = (struct config){
		.smtp = {.hostname = "mx.example.org"},
		.policy = {.callout_ms_max = 1000, .callout_rate_max = 100},
		.spool = {.directory = store_path,
			.durable = true,
			.memory_bytes_max = 8u << 20,
			.stream_bytes = 256u << 10,
			.segment_bytes = 4u << 20,
			.messages_max = 100000},
		.relay = {.routes = whole_routes,
			.routes_n = WHOLE_ROUTES,
			.maildirs = maildirs,
			.maildirs_n = 1,
			.hostname = "mx.example.org",
			.retry_ms_min = 50,
			.retry_ms_max = 200,
			.expire_ms = 3600000,
			.connect_ms_max = 5000,
			.reply_ms_max = 10000,
			.final_ms_max = 20000,
			.cutthrough_ms_max = 1000,
			.connections_max = 16,
			.ktls = KTLS_MODE_OFF},
	};
}

static void begin(void)
{
	struct err err = {0};
	struct store_found found;
	struct relay_facts facts = {.config = &whole_config, .tls = tls, .ring = ring};

	cr_assert(store_open(&store, &whole_config.spool, false, 0, 0, &err) == 0, "%s", err.text);
	cr_assert(store_recover(store, 1, &found, &err) == 0, "%s", err.text);
	cr_assert(spool_open(&spool, &whole_config.spool, store, ring, 0, 1, &err) == 0, "%s",
		err.text);
	cr_assert(relay_routes_open(&routes, &whole_config.relay, &err) == 0, "%s", err.text);
	facts.spool = spool;
	facts.maildir_fds = &maildir_fd;
	cr_assert(relay_open(&whole, &facts, routes, &err) == 0, "%s", err.text);
	relay_start(whole);
}

void whole_open(void)
{
	const struct ring_settings settings = {256, 8, 4, 4};
	struct err err = {0};

	maildir_fd = open(box_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(maildir_fd >= 0);
	cr_assert(ring_open(&ring, &settings, &err) == 0, "%s", err.text);
	begin();
}

static void before_wait(void *ctx)
{
	(void)ctx;
	relay_turn(whole);
	spool_turn(spool);
	ring_stop(ring);
}

void whole_turn(void)
{
	ring_run(ring, before_wait, NULL);
}

static void end(void)
{
	relay_drain(whole);
	while (!relay_idle(whole) || !spool_idle(spool))
		whole_turn();
	relay_close(whole);
	relay_routes_release(routes);
	spool_close(spool);
	store_close(store);
}

/* Routes keep pointers to their settings and a table of their own of the domains. */
void whole_route_move(unsigned from, unsigned to)
{
	struct relay_routes *next;
	struct err err = {0};

	whole_routes[from].domains = domains[to];
	whole_routes[to].domains = domains[from];
	cr_assert(relay_routes_open(&next, &whole_config.relay, &err) == 0, "%s", err.text);
	relay_use(whole, next);
}

void whole_restart(void)
{
	end();
	begin();
}

void whole_close(void)
{
	static const enum counter gauges[] = {COUNTER_QUEUE_ACTIVE, COUNTER_QUEUE_READY,
		COUNTER_QUEUE_DEFERRED, COUNTER_QUEUE_HELD, COUNTER_RELAY_CONNECTIONS_ACTIVE};
	int64_t sum = 0;

	sink_go(0);
	sink_go(1);
	for (size_t i = 0; i < RELAY_STATE_COUNT; i++)
		sum += counter_sum(gauges[i]);
	cr_expect(sum == whole_queued(), "gauges %lld, queue %u", (long long)sum, whole_queued());
	end();
	ring_close(ring);
	close(maildir_fd);
	for (size_t i = 0; i < COUNT_OF(gauges); i++)
		cr_expect(counter_sum(gauges[i]) == 0, "gauge %zu: %lld", i,
			(long long)counter_sum(gauges[i]));
	sink_close(0);
	sink_close(1);
	(void)unit_remove_tree(whole_root);
}

/* ---- letters ---- */

struct letter_owner {
	struct spool_owner owner;
	bool over;
	int res;
};

static void ready(struct spool_owner *owner)
{
	(void)owner;
}

static void committed(struct spool_owner *owner, int res, const struct smtp_verdict *verdict)
{
	struct letter_owner *letter = container_of(owner, struct letter_owner, owner);

	(void)verdict;
	letter->over = true;
	letter->res = res;
}

static struct smtp_address address_of(const char *text, size_t n)
{
	const char *at = memrchr(text, '@', n);
	struct smtp_address address = {.text = span_of(text, n), .local = span_of(text, n)};

	if (at != NULL) {
		address.local.n = (size_t)(at - text);
		address.domain = span_of(at + 1, n - address.local.n - 1);
	}
	return address;
}

uint8_t whole_notify;
bool whole_requiretls;

uint64_t whole_send(const char *sender, const char *recipients)
{
	static const char text[] = "Subject: x\r\n\r\nhello\r\n";
	struct letter_owner letter = {.owner = {.ready = ready, .committed = committed}};
	struct smtp_envelope envelope = {
		.reverse_path = address_of(sender, strlen(sender)), .requiretls = whole_requiretls};
	struct smtp_recipient list[RECIPIENTS_MAX];
	struct spool_message *message;
	uint64_t id = spool_id(spool);

	list_init(&envelope.recipients);
	while (*recipients != '\0') {
		size_t n = strcspn(recipients, " ");
		struct smtp_recipient *one = &list[envelope.recipients_n++];

		cr_assert(envelope.recipients_n <= RECIPIENTS_MAX);
		*one = (struct smtp_recipient){
			.address = address_of(recipients, n), .notify = whole_notify};
		list_push_back(&envelope.recipients, &one->node);
		recipients += n + (recipients[n] == ' ');
	}
	message = spool_begin(spool, &letter.owner, &envelope, id, span_str(text));
	cr_assert(message != NULL);
	spool_commit(message);
	spool_turn(spool); /* the loop's would come after an event, and there may be none */
	while (!letter.over)
		whole_turn();
	cr_assert(letter.res == 0, "%s", strerror(-letter.res));
	return id;
}

struct spool_entry *whole_entry(uint64_t id)
{
	return spool_find(spool, id);
}

uint32_t whole_queued(void)
{
	return spool_entries(spool);
}

void whole_until_empty(void)
{
	while (whole_queued() > 0)
		whole_turn();
}

/* The sink's thread counts; only its replies turn the loop. */
void whole_until_sink(unsigned i, unsigned messages)
{
	while (sink_seen(i).messages < messages)
		whole_for_ms(2);
}

void whole_until_attempts(uint64_t id, uint32_t n)
{
	struct spool_attempt_record tries[SPOOL_ATTEMPTS_MAX];

	while (whole_entry(id) != NULL && spool_attempts(whole_entry(id), tries) < n)
		whole_turn();
	cr_assert(whole_entry(id) != NULL, "the message is gone");
}

void whole_until_state(uint64_t id, enum relay_entry_state state)
{
	while (whole_entry(id) != NULL && relay_entry_state(whole_entry(id)) != state)
		whole_turn();
	cr_assert(whole_entry(id) != NULL, "the message is gone");
}

static bool over;

static void over_fire(struct wheel_timer *timer)
{
	(void)timer;
	over = true;
}

void whole_for_ms(uint64_t ms)
{
	struct wheel_timer timer;

	over = false;
	wheel_timer_init(&timer, over_fire);
	wheel_set(ring_wheel(ring), &timer, clock_ms() + ms);
	while (!over)
		whole_turn();
}

const char *whole_last(uint64_t id)
{
	static struct spool_attempt_record tries[SPOOL_ATTEMPTS_MAX];
	uint32_t n;

	cr_assert(whole_entry(id) != NULL);
	n = spool_attempts(whole_entry(id), tries);
	return n > 0 ? tries[n - 1].text : "";
}

const char *whole_fates(uint64_t id)
{
	static const char *const names[] = {"PENDING", "DELIVERED", "BOUNCED", "DELETED"};
	static char text[512];
	const struct spool_entry *entry = whole_entry(id);
	size_t n = 0;

	cr_assert(entry != NULL);
	text[0] = '\0';
	for (uint32_t i = 0; i < entry->recipients_n; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i > 0 ? " " : "",
			names[entry->recipients[i].fate]);
	return text;
}

struct spool_entry *whole_report(void)
{
	for (struct spool_entry *entry = spool_after(spool, 0); entry != NULL;
		entry = spool_after(spool, entry->id))
		if (entry->envelope.reverse_path.text.n == 0)
			return entry;
	return NULL;
}
