/* SPDX-License-Identifier: Apache-2.0 */
/* Who we are: a token, a token file that kubelet replaces, a certificate, a program. */
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "store/kube-private.h"

#define TOKEN_MAX    65536
#define EXPIRY_SLACK 30 /* seconds: a token is not used up to its last moment */

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Did the file change since it was noted in @at? */
static bool is_changed(const char *path, struct stat *at)
{
	struct stat st;
	bool changed;

	if (!path || stat(path, &st) < 0) /* in the middle of a replacement: what we have is good enough */
		return false;
	changed = !same_file(&st, at);
	*at = st;
	return changed;
}

static void set_token(struct kube_cred *c, const char *token)
{
	free(c->token);
	c->token = token && *token ? strdup(token) : NULL;
	if (token && *token && !c->token)
		abort();
}

static int read_token(struct kube *k, struct err *e)
{
	struct kube_cred *c = &k->cred;
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (!is_changed(k->config->token_file, &c->token_at) && c->token)
		return 0;
	r = file_read(AT_FDCWD, k->config->token_file, TOKEN_MAX, &text, &len);
	if (r < 0 && c->token)
		return 0;
	if (r < 0)
		return err_set(e, -EACCES, "%s: its token file %s cannot be read: %s", k->config->source, k->config->token_file, strerror(-r));
	while (len && strchr(" \r\n\t", text[len - 1]))
		text[--len] = '\0';
	if (!len || strpbrk(text, "\r\n"))
		return err_set(e, -EACCES, "%s: its token file %s holds no token", k->config->source, k->config->token_file);
	set_token(c, text);
	return 0;
}

static int ask_program(struct kube *k, bool refused, struct err *e)
{
	_cleanup_arena_ struct arena *a = NULL;
	struct kube_cred *c = &k->cred;
	struct kube_exec_answer answer;
	int r;

	if (c->asked && !refused && (!c->expires_s || time(NULL) < c->expires_s - EXPIRY_SLACK))
		return 0;
	a = arena_new();
	r = kube_exec(a, k->config, &answer, e);
	if (r < 0)
		return r;
	c->asked = true;
	c->expires_s = answer.expires_s;
	set_token(c, answer.token);
	return answer.cert_pem ? http_set_cert(k->http, answer.cert_pem, answer.key_pem, e) : 0;
}

int kube_cred_get(struct kube *k, bool refused, char **ret, struct err *e)
{
	const struct kubeconfig *config = k->config;
	struct kube_cred *c = &k->cred;
	bool known = c->cert_at.st_ino != 0;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	/* both: one is replaced after the other */
	if ((is_changed(config->tls.cert_file, &c->cert_at) | is_changed(config->tls.key_file, &c->key_at)) && known)
		http_renew(k->http);
	if (config->token_file) {
		if (refused)
			c->token_at.st_ino = 0;
		r = read_token(k, e);
	} else if (config->token) {
		if (!c->token)
			set_token(c, config->token);
	} else if (config->exec) {
		r = ask_program(k, refused, e);
	}
	*ret = r == 0 && c->token ? strdup(c->token) : NULL;
	pthread_mutex_unlock(&c->lock);
	return r;
}

void kube_cred_free(struct kube_cred *c)
{
	free(c->token);
	pthread_mutex_destroy(&c->lock);
}

const char *kube_cred_doubt(struct kube *k, struct arena *a)
{
	const struct kubeconfig *config = k->config;
	const char *what = config->token_file ? arena_printf(a, "the token in %s", config->token_file) :
			   config->token      ? "its token" :
			   config->exec	      ? arena_printf(a, "what %s gave", config->exec->command) :
			   config->tls.cert_pem || config->tls.cert_file ? "its client certificate" : NULL;
	char when[32];
	struct tm tm;
	int64_t expiry;
	time_t t;

	if (!what)
		return "it has no token, client certificate or credential program: choose another context or user";
	pthread_mutex_lock(&k->cred.lock);
	expiry = k->cred.token ? kubeconfig_token_expiry(k->cred.token) : 0;
	pthread_mutex_unlock(&k->cred.lock);
	t = (time_t)expiry;
	if (!expiry || t > time(NULL) || !gmtime_r(&t, &tm) || !strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm))
		return arena_printf(a, "%s is not accepted; it may have expired, or be of another cluster: get a new kubeconfig", what);
	return arena_printf(a, "%s expired on %s: get a new one", what, when);
}
