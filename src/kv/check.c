/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <stdarg.h>
#include <string.h>

#include "base/parse.h"
#include "kv/check.h"

#define TIMEOUT_MS 60000
#define MTU 9000

static const char *const verdicts[] = { "ok", "BAD", "note" };
static const char *const places[] = { "here", "peer", "path" };

const char *check_plain(struct arena *a, const char *s)
{
	char *copy = arena_strdup(a, s);

	for (char *p = copy; p && *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return copy;
}

void check_add(struct check *c, enum check_where where, enum check_verdict verdict, const char *rail, const char *name,
	       const char *expected, const char *todo, const char *found, ...)
{
	struct check_line *line = arena_push(c->arena, &c->lines, &c->n_lines, sizeof(*line));
	va_list ap;

	va_start(ap, found);
	*line = (struct check_line){
		.where = where, .verdict = verdict, .rail = check_plain(c->arena, rail), .name = name,
		.expected = check_plain(c->arena, expected), .todo = todo, .found = check_plain(c->arena, arena_vprintf(c->arena, found, ap)),
	};
	va_end(ap);
}

size_t check_bad(const struct check *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_lines; i++)
		n += c->lines[i].verdict == CHECK_BAD;
	return n;
}

static int set_key(struct arena *a, const char *key, const char *value, struct check_rail *r)
{
	uint64_t n;

	if (!strcmp(key, "rdma"))
		r->rdma = arena_strdup(a, value);
	else if (!strcmp(key, "address"))
		r->address = arena_strdup(a, value);
	else if (!strcmp(key, "network"))
		r->network = arena_strdup(a, value);
	else if (!strcmp(key, "port") && parse_u64(value, 10, 1, 255, &n) == 0)
		r->port = (unsigned)n;
	else if (!strcmp(key, "mtu") && parse_u64(value, 10, 68, 65535, &n) == 0)
		r->mtu = (unsigned)n;
	else if (!strcmp(key, "gid") && parse_u64(value, 10, 0, 65535, &n) == 0)
		r->gid_then = (int)n;
	else
		return -EINVAL;
	return 0;
}

int check_rail_parse(struct arena *a, const char *text, unsigned mtu, struct check_rail *ret, struct err *e)
{
	struct check_rail r = { .port = 1, .mtu = mtu, .gid_then = -1, .gid_index = -1, .echo_fd = -1 };
	char *save, *word, *value;

	r.ifname = strtok_r(arena_strdup(a, text), ",", &save);
	if (!r.ifname || !parse_is_ifname(r.ifname))
		return err_set(e, -EINVAL, "--rail %s: it begins with the name of an interface, as in net1,rdma=mlx5_2,address=10.0.132.1/24", text);
	while ((word = strtok_r(NULL, ",", &save))) {
		value = strchr(word, '=');
		if (value)
			*value++ = '\0';
		if (!value || set_key(a, word, value, &r) < 0)
			return err_set(e, -EINVAL, "--rail %s: '%s%s%s' is not rdma=DEVICE, port=1..255, address=ADDRESS/LENGTH, network=NAME, mtu=68..65535 "
				       "or gid=INDEX", text, word, value ? "=" : "", value ? value : "");
	}
	*ret = r;
	return 0;
}

static void add_text(yyjson_mut_doc *doc, yyjson_mut_val *obj, const char *key, const char *text)
{
	if (text)
		yyjson_mut_obj_add_strcpy(doc, obj, key, text);
}

static yyjson_mut_val *rail_value(const struct check_rail *r, yyjson_mut_doc *doc)
{
	yyjson_mut_val *v = yyjson_mut_obj(doc);

	add_text(doc, v, "ifname", r->ifname);
	add_text(doc, v, "network", r->network);
	add_text(doc, v, "address", r->address);
	add_text(doc, v, "rdma", r->rdma);
	yyjson_mut_obj_add_uint(doc, v, "mtu", r->mtu);
	yyjson_mut_obj_add_uint(doc, v, "netdevMtu", r->netdev_mtu);
	yyjson_mut_obj_add_uint(doc, v, "activeMtu", r->active_mtu);
	yyjson_mut_obj_add_int(doc, v, "gidIndex", r->gid_index);
	add_text(doc, v, "gid", r->gid);
	if (r->echo_port)
		yyjson_mut_obj_add_uint(doc, v, "echoPort", r->echo_port);
	return v;
}

yyjson_mut_val *check_value(struct check *c, yyjson_mut_doc *doc)
{
	yyjson_mut_val *v = yyjson_mut_obj(doc), *rails = yyjson_mut_obj_add_arr(doc, v, "rails");
	yyjson_mut_val *lines = yyjson_mut_obj_add_arr(doc, v, "lines");

	for (size_t i = 0; i < c->n_rails; i++)
		yyjson_mut_arr_append(rails, rail_value(&c->rails[i], doc));
	for (size_t i = 0; i < c->n_lines; i++) {
		const struct check_line *l = &c->lines[i];
		yyjson_mut_val *line = yyjson_mut_arr_add_obj(doc, lines);

		yyjson_mut_obj_add_str(doc, line, "verdict", verdicts[l->verdict]);
		yyjson_mut_obj_add_str(doc, line, "where", places[l->where]);
		add_text(doc, line, "rail", l->rail);
		add_text(doc, line, "check", l->name);
		add_text(doc, line, "expected", l->expected);
		add_text(doc, line, "found", l->found);
		add_text(doc, line, "do", l->todo);
	}
	return v;
}

#define COLUMNS 4

/* "ok   here net1  GID  expected ...; found ...; do ...": one line a check, whatever its verdict. */
void check_print(struct check *c)
{
	static const char *const colors[] = { "\033[32m", "\033[31m", "\033[33m" };
	const char *no = getenv("NO_COLOR");
	bool color = isatty(STDOUT_FILENO) && !(no && *no);
	size_t width[COLUMNS] = { 4, 4, 0, 0 };

	for (size_t i = 0; i < c->n_lines; i++) {
		size_t rail = c->lines[i].rail ? strlen(c->lines[i].rail) : 1, name = strlen(c->lines[i].name);

		width[2] = rail > width[2] ? rail : width[2];
		width[3] = name > width[3] ? name : width[3];
	}
	for (size_t i = 0; i < c->n_lines; i++) {
		const struct check_line *l = &c->lines[i];

		printf("%s%-*s%s  %-*s  %-*s  %-*s  ", color ? colors[l->verdict] : "", (int)width[0], verdicts[l->verdict], color ? "\033[0m" : "",
		       (int)width[1], places[l->where], (int)width[2], l->rail ? l->rail : "-", (int)width[3], l->name);
		printf("expected: %s; found: %s%s%s\n", l->expected ? l->expected : "-", l->found ? l->found : "-", l->todo ? "; do: " : "",
		       l->todo ? l->todo : "");
	}
	if (check_bad(c))
		printf("%zu checks, %zu bad\n", c->n_lines, check_bad(c));
	else
		printf("%zu checks, all good\n", c->n_lines);
}

struct arguments {
	const char *listen, *peer, *output;
	bool listens;
	unsigned mtu, timeout_ms;
	const char **rails;
	size_t n_rails;
};

static const char usage[] =
	"usage: kvrail-kv check [--rail SPEC]... [--listen[=[ADDRESS][:PORT]] | --peer ADDRESS[:PORT]] [-o table|json|yaml]\n\n"
	"Checks the rails of this network namespace; with --listen on one side and --peer on the other also the path between.\n\n"
	"  --rail SPEC       net1,rdma=DEVICE,port=1,address=ADDRESS/LENGTH,network=NAME,mtu=9000,gid=INDEX (repeatable;\n"
	"                    default: each RDMA device whose interface is here)\n"
	"  --mtu BYTES       what each rail should carry (default 9000)\n"
	"  --listen[=ADDR]   wait for the other side (default port 5701)\n"
	"  --peer ADDR       the other side\n"
	"  --timeout SECONDS how long to wait for it (default 60)\n"
	"  -o, --output FMT  table (default), json or yaml\n\n"
	"Exit codes: 0 all good, 1 failed, 2 wrong usage, 3 something is bad.\n";

static int usage_error(const char *what)
{
	fprintf(stderr, "kvrail-kv check: %s; 'kvrail-kv check --help' tells more\n", what);
	return 2;
}

/* Returns -1 to go on, else the exit code. */
static int parse(int argc, char **argv, struct arena *a, struct arguments *args)
{
	static const struct option longs[] = {
		{ "rail", required_argument, NULL, 'r' },    { "mtu", required_argument, NULL, 'm' },
		{ "listen", optional_argument, NULL, 'l' },  { "peer", required_argument, NULL, 'p' },
		{ "timeout", required_argument, NULL, 't' }, { "output", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },	     { NULL, 0, NULL, 0 },
	};
	uint64_t n;
	int o;

	*args = (struct arguments){ .mtu = MTU, .timeout_ms = TIMEOUT_MS, .output = "table" };
	optind = 1;
	while ((o = getopt_long(argc, argv, "o:h", longs, NULL)) != -1) {
		switch (o) {
		case 'r':
			*(const char **)arena_push(a, &args->rails, &args->n_rails, sizeof(char *)) = optarg;
			break;
		case 'm':
			if (parse_u64(optarg, 10, 68, 65535, &n) < 0)
				return usage_error(arena_printf(a, "--mtu %s is not 68 to 65535", optarg));
			args->mtu = (unsigned)n;
			break;
		case 'l':
			args->listens = true;
			args->listen = optarg ? optarg : "";
			break;
		case 'p':
			args->peer = optarg;
			break;
		case 't':
			if (parse_u64(optarg, 10, 1, 86400, &n) < 0)
				return usage_error(arena_printf(a, "--timeout %s is not 1 to 86400 seconds", optarg));
			args->timeout_ms = (unsigned)n * 1000;
			break;
		case 'o':
			args->output = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			return 2;
		}
	}
	if (optind < argc)
		return usage_error(arena_printf(a, "'%s' is one argument too many", argv[optind]));
	if (args->listens && args->peer)
		return usage_error("--listen is for one side and --peer for the other");
	if (strcmp(args->output, "table") && strcmp(args->output, "json") && strcmp(args->output, "yaml"))
		return usage_error(arena_printf(a, "--output %s is not table, json or yaml", args->output));
	return -1;
}

static int find_rails(struct check *c, const struct arguments *args, struct err *e)
{
	if (args->n_rails == 0)
		return check_rails_find(c, args->mtu, e);
	if (args->n_rails > CHECK_RAILS_MAX)
		return err_set(e, -E2BIG, "%zu rails are more than %d", args->n_rails, CHECK_RAILS_MAX);
	for (size_t i = 0; i < args->n_rails; i++) {
		struct check_rail *r = arena_push(c->arena, &c->rails, &c->n_rails, sizeof(*r));
		int rc = check_rail_parse(c->arena, args->rails[i], args->mtu, r, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int run(struct check *c, const struct arguments *args, struct err *e)
{
	union kv_addr at;
	int rc = find_rails(c, args, e);

	if (rc < 0)
		return rc;
	if (args->listens || args->peer) {
		const char *text = args->peer ? args->peer : *args->listen ? args->listen : ":5701";

		rc = kv_addr_parse(text, CHECK_PORT, &at, e);
		if (rc < 0)
			return rc;
	}
	check_local(c);
	if (args->listens)
		return check_listen(c, &at, args->timeout_ms, e);
	return args->peer ? check_peer(c, &at, args->timeout_ms, e) : 0;
}

static void report(struct check *c, const char *output)
{
	yyjson_mut_doc *doc = doc_new(c->arena);
	yyjson_mut_val *v;

	if (!strcmp(output, "table")) {
		check_print(c);
		return;
	}
	v = check_value(c, doc);
	yyjson_mut_obj_add_uint(doc, v, "bad", check_bad(c));
	if (!strcmp(output, "json"))
		puts(doc_mut_to_json(c->arena, v, true));
	else
		fputs(doc_mut_to_yaml(c->arena, v), stdout);
}

int check_main(int argc, char **argv)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct check c = { .arena = a };
	struct arguments args;
	struct err e = { 0 };
	int rc = parse(argc, argv, a, &args);

	if (rc >= 0)
		return rc;
	rc = sysroot_open(NULL, &c.root, &e);
	if (rc == 0)
		rc = run(&c, &args, &e);
	if (rc == 0 || c.n_lines)
		report(&c, args.output); /* what was seen before the failure helps to explain it */
	for (size_t i = 0; i < c.n_rails; i++)
		if (c.rails[i].echo_fd >= 0)
			close(c.rails[i].echo_fd);
	sysroot_close(c.root);
	if (rc < 0) {
		fprintf(stderr, "kvrail-kv check: %s\n", e.msg);
		return 1;
	}
	return check_bad(&c) ? 3 : 0;
}
