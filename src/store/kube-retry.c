/* SPDX-License-Identifier: Apache-2.0 */
/* When a request is made again. */
#include <sys/random.h>

#include "base/clock.h"
#include "store/kube-private.h"

#define PAUSE_MS     100
#define PAUSE_MAX_MS 5000

uint32_t kube_random(void)
{
	uint32_t n;

	if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != sizeof(n))
		n = (uint32_t)clock_ns();
	return n;
}

unsigned kube_backoff(unsigned attempt, unsigned base_ms, unsigned max_ms, uint32_t random)
{
	uint64_t ms = (uint64_t)base_ms << (attempt < 16 ? attempt : 16);

	if (ms > max_ms)
		ms = max_ms;
	return (unsigned)(ms / 2 + random % (ms / 2 + 1));
}

/* Is it certain that the server changed nothing? 429, and 503 with a time, come from its door. */
static bool is_untouched(const struct kube_try *t)
{
	if (t->r < 0)
		return !t->sent;
	return t->status == 429 || (t->status == 503 && t->retry_after_s >= 0);
}

static bool passes(const struct kube_try *t)
{
	if (t->r < 0)
		return t->r == -EHOSTUNREACH || t->r == -ETIMEDOUT || t->r == -ECONNRESET;
	return t->status == 429 || t->status >= 500;
}

int kube_retry(const struct kube_try *t)
{
	uint64_t ms;

	if (!passes(t) || !(t->repeatable || is_untouched(t)))
		return -1;
	ms = kube_backoff(t->attempt, PAUSE_MS, PAUSE_MAX_MS, t->random);
	if (t->r == 0 && t->retry_after_s > 0) /* all who were told the same shall not come back together */
		ms = (uint64_t)t->retry_after_s * 1000 + t->random % (unsigned)(t->retry_after_s * 200 + 1);
	return ms < t->left_ms ? (int)ms : -1;
}
