/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRVNG_LOADER_YAML_READER_H
#define PRVNG_LOADER_YAML_READER_H

#include <prvng/prvng.h>

#include <stdbool.h>
#include <yaml.h>

#define DEPTH_LIMIT 64 /* as the builder's */

struct event {
        yaml_event_t yaml;
        size_t other; /* of a start: its end; of an alias: what it stands for */
};

struct anchor {
        const char *name; /* in its event */
        size_t event;
};

struct reader {
        const struct prvng_host_document *table;
        struct prvng_document *document;
        yaml_parser_t parser;
        const unsigned char *text;
        size_t n;
        size_t *lines; /* where each line starts; NULL if the text is ASCII */
        size_t n_lines;
        struct event *events;
        size_t n_events, cap_events;
        struct anchor *anchors;
        size_t n_anchors, cap_anchors;
        size_t open[DEPTH_LIMIT + 1]; /* starts that have not ended */
        size_t n_open;
        size_t n_repeated, n_compared;
        uint32_t n_merges; /* that we are inside of */
};

/* libyaml counts characters, we count bytes. */
struct prvng_position yaml_position(const struct reader *r, yaml_mark_t mark);

/* Reports a problem at a mark and returns PERMANENT. */
int32_t yaml_problem(struct reader *r, yaml_mark_t mark, const char *message);

/* Gives the node that begins with event `number` to the builder. */
int32_t yaml_emit(struct reader *r, size_t number);

#endif
