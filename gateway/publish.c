/* SPDX-License-Identifier: MIT */
/*
 * publish.c -- what the world sees of us, certificates and policies: read together, checked together,
 * handed to the child one after the other.
 *
 * A new certificate can break a policy and a new policy can ask for what no certificate gives, so neither
 * is put to use before both were looked at. Done by the privileged parent, which may read the files; all
 * of it is thrown away when one thing is wrong.
 */
#include "gateway.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct certificate_settings *find(const struct tls_settings *tls, const char *title)
{
	for (size_t i = 0; i < tls->certificates_n; i++)
		if (strcmp(tls->certificates[i].title, title) == 0)
			return &tls->certificates[i];
	return NULL;
}

/* The sections of `tls`, with what may change while we run taken from `fresh`; to be freed. */
static struct certificate_settings *sections_make(
	const struct tls_settings *tls, const struct tls_settings *fresh)
{
	struct certificate_settings *sections = calloc(tls->certificates_n + 1, sizeof(*sections));

	for (size_t i = 0; sections != NULL && i < tls->certificates_n; i++) {
		const struct certificate_settings *now = find(fresh, tls->certificates[i].title);

		sections[i] = tls->certificates[i];
		if (now == NULL)
			continue;
		sections[i].next_chain = now->next_chain;
		sections[i].tlsa = now->tlsa;
		sections[i].tlsa_n = now->tlsa_n;
	}
	return sections;
}

static int check(const struct publish *publish, const struct tls_settings *tls,
	const struct config *start, const struct config *fresh, struct err *err)
{
	const struct web_check facts = {
		.hostname = start->smtp.hostname,
		.sts = fresh->sts,
		.sts_n = fresh->sts_n,
		.listeners = start->listeners,
		.listeners_n = start->listeners_n,
		.certificates = tls->certificates,
		.certificates_n = tls->certificates_n,
		.material = publish->material,
		.ca_file = start->relay.sts_ca_file,
	};

	return web_check(&facts, err);
}

static int policies_make(struct publish *publish, const struct config *fresh, struct err *err)
{
	uint8_t *block;
	size_t n;

	if (web_policies_pack(fresh->sts, fresh->sts_n, &block, &n, err) != 0)
		return -1;
	publish->policies_fd = channel_block_make("postern-policies", span_of(block, n));
	free(block);
	return publish->policies_fd >= 0 ? 0
					 : err_set(err, "sts: memfd_create: %s", strerror(errno));
}

int publish_load(struct publish *out, const struct tls_settings *tls, const struct config *start,
	const struct config *fresh, struct err *err)
{
	struct certificate_settings *sections = sections_make(tls, &fresh->tls);
	struct tls_settings settings = *tls;
	int res = 0;

	*out = (struct publish){.policies_fd = -1};
	settings.certificates = sections;
	if (sections == NULL)
		return err_set(err, "out of memory");
	if (settings.certificates_n > 0)
		res = tls_material_load(&out->material, &settings, err);
	if (res == 0)
		res = policies_make(out, fresh, err);
	if (res == 0)
		res = check(out, &settings, start, fresh, err);
	free(sections);
	if (res != 0)
		publish_free(out);
	return res;
}

void publish_free(struct publish *publish)
{
	if (publish->material != NULL)
		tls_material_free(publish->material);
	if (publish->policies_fd >= 0)
		close(publish->policies_fd);
	*publish = (struct publish){.policies_fd = -1};
}

int publish_material_send(const struct publish *publish, int channel)
{
	uint8_t *block;
	size_t n;
	int fd, res;

	if (publish->material == NULL)
		return channel_send(channel, CHANNEL_MATERIAL, "", -1);
	if (tls_material_pack(publish->material, &block, &n) != 0)
		return -ENOMEM;
	fd = channel_block_make("postern-material", span_of(block, n));
	wipe(block, n);
	free(block);
	if (fd < 0)
		return -ENOMEM;
	res = channel_send(channel, CHANNEL_MATERIAL, "", fd);
	close(fd);
	return res;
}

int publish_policies_send(const struct publish *publish, int channel)
{
	return channel_send(channel, CHANNEL_POLICIES, "", publish->policies_fd);
}

/* ---- the child's side ---- */

static int material_take(struct tls_material **out, int fd, struct err *err)
{
	uint8_t *block;
	size_t n;
	int res;

	if (channel_block_take(fd, &block, &n) != 0)
		return err_set(err, "no certificates came from the parent process");
	res = tls_material_unpack(out, span_of(block, n), err);
	wipe(block, n);
	free(block);
	return res;
}

/* What is in use from now on. */
static void describe(struct published *published, const struct config *config,
	const struct tls_material *material)
{
	for (size_t i = 0; i < config->tls.certificates_n; i++) {
		tls_material_describe(material, i, &published->certificates[i]);
		published->mx[i] = tls_material_serves(material, i, config->smtp.hostname) ||
				   tls_material_serves(material, i, "");
	}
}

int published_material(struct published *published, const struct config *config,
	const struct tls_kernel *kernel, int fd, struct err *err)
{
	struct tls_material *material;
	struct tls_context *tls;
	int res;

	if (material_take(&material, fd, err) != 0)
		return -1;
	res = tls_context_open(&tls, &config->tls, kernel, material, err);
	if (res == 0) {
		tls_context_release(published->tls);
		published->tls = tls;
		describe(published, config, material);
	}
	tls_material_free(material);
	return res;
}

int published_policies(struct published *published, int fd, struct err *err)
{
	struct web_policies *policies;
	uint8_t *block;
	size_t n;
	int res;

	if (channel_block_take(fd, &block, &n) != 0)
		return err_set(err, "no policies came from the parent process");
	res = web_policies_open(&policies, span_of(block, n), err);
	free(block);
	if (res != 0)
		return -1;
	web_policies_release(published->policies);
	published->policies = policies;
	return 0;
}

void published_free(struct published *published)
{
	tls_context_release(published->tls);
	web_policies_release(published->policies);
	*published = (struct published){0};
}
