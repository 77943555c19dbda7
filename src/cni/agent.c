/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cni/agent.h"
#include "cni/text.h"

#define RETRY_MS 50

int agent_connect(const char *path, unsigned wait_ms)
{
	const struct timespec pause = { 0, RETRY_MS * 1000000L };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	for (;;) {
		int failed;

		if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
			return fd;
		failed = errno;
		if (failed == EINTR)
			continue;
		if ((failed != ENOENT && failed != ECONNREFUSED && failed != EAGAIN) || wait_ms < RETRY_MS) {
			close(fd);
			return -failed;
		}
		nanosleep(&pause, NULL);
		wait_ms -= RETRY_MS;
	}
}

long agent_mark_alive(const char *path)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = getpid(), .l_len = 1 };
	char name[200];
	struct text t = { name, 0, sizeof(name), false };
	int fd;

	text_str(&t, path);
	text_str(&t, ".shims");
	text_add(&t, "", 1);
	fd = t.full ? -1 : open(name, O_RDWR | O_CLOEXEC);
	/* it stays open to the end, which closes it */
	return fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0 ? lock.l_start : 0;
}

static int send_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static ssize_t receive_all(int fd, char *buf, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = recv(fd, buf + len, size - len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (n == 0)
			return (ssize_t)len;
		len += (size_t)n;
	}
	return -EMSGSIZE;
}

/* The number in the header line "content-length: N" of [@s, @end), or -1. */
static long content_length(const char *s, const char *end)
{
	static const char name[] = "content-length:";
	long v = 0;

	for (; s && s + sizeof(name) < end; s = memchr(s, '\n', (size_t)(end - s)), s = s ? s + 1 : NULL) {
		if (strncasecmp(s, name, sizeof(name) - 1))
			continue;
		for (s += sizeof(name) - 1; *s == ' '; s++)
			;
		for (; *s >= '0' && *s <= '9' && v < 1L << 30; s++)
			v = v * 10 + (*s - '0');
		return v;
	}
	return -1;
}

static int parse_reply(const char *buf, size_t len, struct agent_reply *ret)
{
	const char *head_end = memmem(buf, len, "\r\n\r\n", 4);
	long want;

	if (len == 0)
		return -ECONNRESET;
	if (!head_end)
		return len < 12 || !memcmp(buf, "HTTP/1.", 7) ? -ECONNRESET : -EPROTO;
	if (memcmp(buf, "HTTP/1.", 7) || head_end - buf < 12 || buf[8] != ' ')
		return -EPROTO;
	ret->status = (buf[9] - '0') * 100 + (buf[10] - '0') * 10 + (buf[11] - '0');
	ret->body = head_end + 4;
	ret->len = len - (size_t)(ret->body - buf);
	want = content_length(buf, head_end + 2);
	if (want >= 0 && (size_t)want > ret->len)
		return -ECONNRESET;
	return 0;
}

int agent_post(int fd, const char *path, const char *body, size_t len, unsigned timeout_s, char *buf, size_t size,
	       struct agent_reply *ret)
{
	const struct timeval limit = { .tv_sec = timeout_s };
	char head[160];
	struct text t = { head, 0, sizeof(head), false };
	ssize_t n;
	int r;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	/* 1.0: the reply ends with the connection and is never chunked. */
	text_str(&t, "POST ");
	text_str(&t, path);
	text_str(&t, " HTTP/1.0\r\nHost: kvrail\r\nContent-Type: application/json\r\nContent-Length: ");
	text_num(&t, len);
	text_str(&t, "\r\n\r\n");
	r = send_all(fd, t.s, t.len);
	if (r == 0)
		r = send_all(fd, body, len);
	/* EPIPE: the agent may have refused the body and said why before it hung up */
	if (r < 0 && r != -EPIPE)
		return r;
	n = receive_all(fd, buf, size);
	if (n < 0)
		return (int)n;
	return parse_reply(buf, (size_t)n, ret);
}
