/* SPDX-License-Identifier: MIT */
/* main.c -- options: run (-c), check (-t), tell (-V, -h). See postern(8). */
#include "gateway.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/event.h"
#include "tls/sign.h"

static const char usage[] =
	"usage: postern -c FILE        run in the foreground\n"
	"       postern -t -c FILE     check the configuration and what it names, then exit\n"
	"       postern -V             version, features, what this kernel offers\n"
	"       postern -h             this text\n"
	"Manual pages: postern(8), postern.conf(5), posternctl(8).\n";

static const char *yes_no(bool yes)
{
	return yes ? "yes" : "no";
}

static int version_print(void)
{
	struct ring_features ring;
	struct tls_kernel kernel;
	struct utsname name;
	struct err err;

	uname(&name);
	printf("postern %s\n", postern_version);
	printf("built with: %s\n", tls_library_version());
	printf("kernel: %s %s\n", name.sysname, name.release);
	if (ring_probe(&ring, &err) == 0)
		printf("io_uring: yes (single issuer %s, defer taskrun %s, multishot accept %s, "
		       "multishot recvmsg %s, buffer rings %s, splice %s)\n",
			yes_no(ring.single_issuer), yes_no(ring.defer_taskrun),
			yes_no(ring.multishot_accept), yes_no(ring.multishot_recvmsg),
			yes_no(ring.buffer_ring), yes_no(ring.splice));
	else
		printf("io_uring: no: %s\n", err.text);
	tls_kernel_probe(&kernel);
	if (kernel.tx)
		printf("kernel TLS: send yes, receive %s%s, re-key %s, no-pad %s\n",
			yes_no(kernel.rx),
			kernel.rx_spins_on_partial ? " (only with ktls = always)" : "",
			yes_no(kernel.rekey), yes_no(kernel.no_pad));
	else
		printf("kernel TLS: no: %s\n", kernel.why);
	return 0;
}

/* A folder that is written to is there, or a start could make it. */
static int folder_check(const char *path, const char *what, struct err *err)
{
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX] = ".";

	if (access(path, R_OK | W_OK | X_OK) == 0)
		return 0;
	if (errno == ENOENT) {
		if (slash != NULL)
			snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path + 1), path);
		if (access(parent, W_OK | X_OK) == 0)
			return 0;
	}
	return err_set(err, "%s %s: %s", what, path, strerror(errno));
}

/* What routes name: folders, CA files, the routes file. */
static int routes_check(const struct relay_settings *settings, struct err *err)
{
	struct relay_routes *routes;
	struct tls_client *client;

	for (size_t i = 0; i < settings->maildirs_n; i++)
		if (folder_check(settings->maildirs[i], "route: maildir", err) != 0)
			return -1;
	for (size_t i = 0; i < settings->routes_n; i++) {
		const struct route_settings *route = &settings->routes[i];

		if (route->tls == ROUTE_TLS_NONE)
			continue;
		if (tls_client_open(&client, route->ca_file, route->tls == ROUTE_TLS_VERIFY, NULL,
			    settings->ktls, err) != 0)
			return -1;
		tls_client_release(client);
	}
	if (relay_routes_open(&routes, settings, err) != 0)
		return -1;
	relay_routes_release(routes);
	return 0;
}

static int dkim_check(const struct tlsrpt_settings *settings, struct err *err)
{
	uint8_t *key;
	size_t n;

	if (settings->dkim_key == NULL)
		return 0;
	if (tls_sign_key_load(settings->dkim_key, &key, &n, err) != 0)
		return -1;
	wipe(key, n);
	free(key);
	return 0;
}

/* All that can be found wrong without starting. */
static int check(const struct config *config, struct err *err)
{
	struct tls_settings tls = config->tls;
	struct ring_features ring;
	struct publish publish;
	struct sandbox_user user;
	struct policy *policy;

	if (geteuid() == 0 && sandbox_user(&user, &config->main, err) != 0)
		return -1;
	/* A check neither makes nor rotates ticket keys. */
	tls.ticket_rotate_seconds = UINT32_MAX;
	if (tls.ticket_keys != NULL && access(tls.ticket_keys, F_OK) != 0)
		tls.ticket_keys = NULL;
	if (publish_load(&publish, &tls, config, config, err) != 0)
		return -1;
	publish_free(&publish);
	if (dkim_check(&config->tlsrpt, err) != 0)
		return -1;
	if (policy_open(&policy, &config->policy, err) != 0)
		return -1;
	policy_close(policy);
	if (folder_check(config->spool.directory, "spool: directory", err) != 0 ||
		routes_check(&config->relay, err) != 0)
		return -1;
	return ring_probe(&ring, err);
}

int main(int argc, char **argv)
{
	const char *path = NULL;
	struct config *config;
	bool check_only = false;
	struct err err;
	int option;
	int code;

	event_stderr_init();
	while ((option = getopt(argc, argv, "c:thV")) != -1) {
		switch (option) {
		case 'c':
			path = optarg;
			break;
		case 't':
			check_only = true;
			break;
		case 'V':
			return version_print();
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (path == NULL || optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	if (config_open(&config, path, &err) != 0) {
		fprintf(stderr, "postern: %s\n", err.text);
		return 1;
	}
	if (check_only) {
		code = check(config, &err) == 0 ? 0 : 1;
		if (code == 0) {
			printf("%s: ok\n", path);
		} else {
			config_place(config, &err);
			fprintf(stderr, "postern: %s\n", err.text);
		}
	} else {
		code = parent_run(path, config);
	}
	config_close(config);
	return code;
}
