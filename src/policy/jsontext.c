/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <yyjson.h>

#include "policy/jsontext.h"

/* Bytes of the white space character at @s, 0 when there is none: Unicode's White_Space in UTF-8. */
static size_t space_len(const char *s)
{
	static const char *const wide[] = {
		"\xc2\x85", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003",
		"\u2004",   "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
		"\u2028",   "\u2029", "\u202f", "\u205f", "\u3000", NULL,
	};

	if (*s && strchr(" \t\n\v\f\r", *s))
		return 1;
	for (size_t i = 0; wide[i]; i++)
		if (!strncmp(s, wide[i], strlen(wide[i])))
			return strlen(wide[i]);
	return 0;
}

void jsontext_add_without_space(struct strbuf *b, const char *text)
{
	while (*text) {
		size_t n = space_len(text);

		if (n == 0)
			strbuf_addch(b, *text);
		text += n ? n : 1;
	}
}

/* Bytes of the line break at @s (YAML 1.1: 5.4), 0 when there is none; *kept is what folding keeps of it, NULL for a newline. */
static size_t break_len(const char *s, const char **kept)
{
	static const char *const separators[] = { "\u2028", "\u2029" };

	*kept = NULL;
	if (s[0] == '\r' && s[1] == '\n')
		return 2;
	if (*s == '\n' || *s == '\r')
		return 1;
	if (!strncmp(s, "\xc2\x85", 2))
		return 2;
	for (size_t i = 0; i < 2; i++) {
		if (!strncmp(s, separators[i], 3)) {
			*kept = separators[i];
			return 3;
		}
	}
	return 0;
}

/* Line breaks and the blanks around them: one break is a space, of more the first is dropped. */
static const char *fold_breaks(struct strbuf *b, const char *s)
{
	const char *kept, *first;
	size_t n = break_len(s, &first), more = 0;

	if (first)
		strbuf_addstr(b, first);
	for (s += n; *s; s += n) {
		s += strspn(s, " \t");
		n = break_len(s, &kept);
		if (n == 0)
			break;
		strbuf_addstr(b, kept ? kept : "\n");
		more++;
	}
	if (!first && more == 0)
		strbuf_addch(b, ' ');
	return s;
}

void jsontext_fold(struct strbuf *b, const char *text)
{
	const char *kept;

	while (*text) {
		size_t blanks = strspn(text, " \t");

		if (break_len(text + blanks, &kept)) {
			text = fold_breaks(b, text + blanks);
			continue;
		}
		strbuf_add(b, text, blanks);
		text += blanks;
		if (!*text)
			break;
		strbuf_addch(b, *text);
		text += text[0] == '\'' && text[1] == '\'' ? 2 : 1;
	}
}

int jsontext_check(const char *text, struct err *e)
{
	yyjson_read_err why;
	size_t len = strlen(text);
	/* a number is text here, however large */
	yyjson_doc *doc = yyjson_read_opts((char *)text, len, YYJSON_READ_NUMBER_AS_RAW, NULL, &why);

	yyjson_doc_free(doc);
	if (doc)
		return 0;
	return err_set(e, -EINVAL, "%s near '%.20s'", why.msg,
		       why.pos <= len ? text + (why.pos > 10 ? why.pos - 10 : 0) : "");
}

static void newline(struct strbuf *b, size_t depth)
{
	strbuf_addch(b, '\n');
	while (depth--)
		strbuf_addstr(b, "    ");
}

/* Copy the string at @s and return what follows it. */
static const char *copy_string(struct strbuf *b, const char *s)
{
	const char *end = s + 1;

	while (*end && *end != '"')
		end += end[0] == '\\' && end[1] ? 2 : 1;
	if (*end)
		end++;
	strbuf_add(b, s, (size_t)(end - s));
	return end;
}

void jsontext_indent(struct strbuf *b, const char *text)
{
	size_t depth = 0;

	while (*text) {
		char c = *text;

		if (c == '"') {
			text = copy_string(b, text);
			continue;
		}
		text++;
		if (strchr(" \t\r\n", c))
			continue;
		if (c == '}' || c == ']')
			newline(b, --depth);
		strbuf_addch(b, c);
		if (c == ':')
			strbuf_addch(b, ' ');
		else if (c == ',')
			newline(b, depth);
		if (c != '{' && c != '[')
			continue;
		text += strspn(text, " \t\r\n");
		if (*text == '}' || *text == ']')
			strbuf_addch(b, *text++);
		else
			newline(b, ++depth);
	}
}
