/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that reads facts, registers and answers Allocate, one after the other. */
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "device/plugin.h"

#define MS 1000000ull
#define GAP_MS 500	    /* between two rounds that links cause */
#define KUBELET_MS 30000    /* how often the kubelet is asked what it gave to whom, when nothing happens */

void device_wake(struct device_plugin *p)
{
	const uint64_t one = 1;

	if (write(p->wake, &one, sizeof(one)) < 0) {
		/* full: it will wake anyway */
	}
}

void device_say(struct device_plugin *p, bool bad, const char *fmt, ...)
{
	_cleanup_arena_ struct arena *a = arena_new();
	va_list ap;

	va_start(ap, fmt);
	if (p->o.host.say)
		p->o.host.say(p->o.host.arg, bad, arena_vprintf(a, fmt, ap));
	va_end(ap);
}

/* What the kernel tells of links is only that it is time to look; nothing of it is kept. */
static bool drain(int fd)
{
	char buf[4096];
	bool any = false;

	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0 || errno == ENOBUFS || errno == EINTR)
		any = true;
	return any;
}

static struct job *next_job(struct device_plugin *p)
{
	struct job *job;

	pthread_mutex_lock(&p->lock);
	job = p->jobs;
	if (job && !job->next)
		p->last_job = &p->jobs;
	p->jobs = job ? job->next : NULL;
	pthread_mutex_unlock(&p->lock);
	return job;
}

static bool answer_jobs(struct device_plugin *p)
{
	bool any = false;
	struct job *job;

	while ((job = next_job(p))) {
		device_allocate(p, job);
		free(job->msg);
		free(job);
		any = true;
	}
	return any;
}

static bool told(struct device_plugin *p, bool *stop)
{
	bool look;

	pthread_mutex_lock(&p->lock);
	look = p->look;
	p->look = false;
	*stop = p->stop;
	pthread_mutex_unlock(&p->lock);
	return look;
}

/* Milliseconds until @at, rounded up. */
static int until(uint64_t at, uint64_t now)
{
	return at <= now ? 0 : (int)((at - now) / MS) + 1;
}

static void wait_for_something(struct device_plugin *p, uint64_t at, bool *ret_links)
{
	struct pollfd fds[] = { { .fd = p->wake, .events = POLLIN }, { .fd = p->inotify, .events = POLLIN }, { .fd = p->links, .events = POLLIN } };
	uint64_t buf;

	if (poll(fds, ARRAY_SIZE(fds), until(at, clock_ns())) <= 0)
		return;
	if (fds[0].revents && read(p->wake, &buf, sizeof(buf)) < 0) {
		/* another one took it */
	}
	if (fds[1].revents)
		device_folder_read(p);
	if (fds[2].revents)
		*ret_links |= drain(p->links);
}

void *device_work(void *plugin)
{
	struct device_plugin *p = plugin;
	uint64_t looked = 0, asked = 0, look_at = 0, register_at, held_back;
	bool links = false, stop;

	for (;;) {
		const bool told_to = told(p, &stop);
		uint64_t now = clock_ns();

		if (stop)
			return NULL;
		if (answer_jobs(p)) /* the kubelet has something new to tell, a moment from now */
			asked = 0;
		if (links && looked + GAP_MS * MS < look_at)
			look_at = looked + GAP_MS * MS;
		if (told_to || now >= look_at) {
			const bool ask_kubelet = told_to || now - asked >= KUBELET_MS * MS;

			links = false;
			device_look(p, ask_kubelet, &held_back);
			asked = ask_kubelet ? now : asked;
			looked = now;
			look_at = now + (held_back && held_back < p->o.poll_ms * MS ? held_back : p->o.poll_ms * MS);
		}
		if (device_register(p, &register_at)) { /* a kubelet that forgot whom it gave what would offer it again */
			asked = 0;
			look_at = clock_ns() + GAP_MS * MS;
		}
		wait_for_something(p, register_at && register_at < look_at ? register_at : look_at, &links);
	}
}
