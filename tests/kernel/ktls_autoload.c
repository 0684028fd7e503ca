/* SPDX-License-Identifier: MIT */
/*
 * ktls_autoload: attaching the ULP loads the tls module for a process with CAP_NET_ADMIN only.
 * Proves kernel-notes/ktls-autoload.md. Needs to come before whatever else loads the module; where
 * it is loaded or built in already there is nothing to see and the result is 77.
 */
#include "ktest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool tls_offered(void)
{
	char line[256] = "";
	FILE *file = fopen("/proc/sys/net/ipv4/tcp_available_ulp", "r");

	if (!file)
		return false;
	KT_MUST(fgets(line, sizeof line, file) || feof(file));
	fclose(file);
	return strstr(line, "tls") != NULL;
}

int main(void)
{
	int fd[2];
	int status;
	pid_t child;

	if (geteuid() != 0)
		kt_unsupported("not root");
	if (tls_offered())
		kt_unsupported("tls is loaded already");
	kt_tcp_pair(fd);
	child = fork();
	KT_MUST(child >= 0);
	if (child == 0) {
		KT_MUST(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
		_exit(kt_ulp(fd[0]) == 0 ? 0 : errno);
	}
	KT_MUST(waitpid(child, &status, 0) == child && WIFEXITED(status));
	if (access("/lib/modules", X_OK) != 0)
		kt_unsupported("no modules");
	kt_ok(WEXITSTATUS(status) == ENOENT, "without CAP_NET_ADMIN: ENOENT and nothing loaded");
	kt_ok(!tls_offered(), "tcp_available_ulp has no tls yet");
	if (kt_ulp(fd[0]) < 0 && errno == ENOENT)
		kt_unsupported("no tls module");
	kt_ok(tls_offered(), "with CAP_NET_ADMIN: attached, and tcp_available_ulp has tls");
	child = fork();
	KT_MUST(child >= 0);
	if (child == 0) {
		KT_MUST(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
		_exit(kt_ulp(fd[1]) == 0 ? 0 : errno);
	}
	KT_MUST(waitpid(child, &status, 0) == child && WIFEXITED(status));
	kt_ok(WEXITSTATUS(status) == 0, "once loaded anybody may attach it");
	return kt_done();
}
