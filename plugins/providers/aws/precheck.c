/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before a run: is there what the plan wants? Credentials, zones, instance types in those zones, images, key
 * pairs. How many processors the account may have is not asked for: EC2's API does not say.
 */
#include "aws.h"

#include <stdarg.h>

struct check {
        struct aws *a;
        struct prvng_call *call;
        json_t *problems, *notices;
        json_t *zones; /* of the region */
        json_t *types; /* name -> array of zones that offer it; asked for when first needed */
};

static void problem(struct check *c, size_t task, const char *field, const char *format, ...) _printf_(4, 5);

static void problem(struct check *c, size_t task, const char *field, const char *format, ...)
{
        char text[900];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        json_array_append_new(c->problems, json_pack("{s:I, s:s, s:s}", "task", (json_int_t)task, "field", field,
                                                     "message", text));
}

/* "a, b, c" */
static char *list_of(const json_t *names)
{
        char *text = NULL;
        size_t n = 0, i;
        FILE *f = open_memstream(&text, &n);
        json_t *v;

        if (!f)
                return NULL;
        json_array_foreach (names, i, v)
                fprintf(f, "%s%s", i ? ", " : "", json_string_value(v));
        fclose(f);
        return text;
}

static bool holds(const json_t *list, const char *text)
{
        json_t *v;
        size_t i;

        json_array_foreach (list, i, v)
                if (streq(json_string_value(v), text))
                        return true;
        return false;
}

static int32_t ask_zones(struct check *c, struct fault *f)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        int32_t r;

        query_begin(&q, "DescribeAvailabilityZones", EC2_VERSION);
        r = aws_ask(c->a, c->call, AWS_EC2, &q, &reply);
        *f = reply.fault;
        xml_foreach (zone, reply_root(&reply), "availabilityZoneInfo")
                json_array_append_new(c->zones, json_string(xml_text(zone, "zoneName")));
        return r;
}

static void add_offer(const struct xml_node *root, void *user)
{
        json_t *zones = user;

        xml_foreach (offer, root, "instanceTypeOfferingSet")
                json_array_append_new(zones, json_string(xml_text(offer, "location")));
}

static int32_t check_type(struct check *c, size_t i, const char *type, const json_t *places, struct fault *f)
{
        json_t *zones = json_object_get(c->types, type), *place;
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_free) char *names = NULL;
        bool named = false, offered = false;
        size_t k;

        if (!zones) {
                zones = json_array();
                json_object_set_new(c->types, type, zones);
                query_begin(&q, "DescribeInstanceTypeOfferings", EC2_VERSION);
                query_add(&q, "availability-zone", "LocationType");
                query_filter(&q, 1, "instance-type", type);
                if (aws_pages(c->a, c->call, &q, f, add_offer, zones) < 0)
                        return f->error_class;
        }
        if (json_array_size(zones) == 0) {
                problem(c, i, "spec.plan", "there is no instance type %s in %s", type, c->a->region);
                return PRVNG_DONE;
        }
        json_array_foreach (places, k, place) {
                named |= *aws_string(place, "zone", "") != '\0';
                offered |= holds(zones, aws_string(place, "zone", ""));
        }
        names = list_of(zones);
        if (named && !offered)
                problem(c, i, "spec.zone", "%s is not offered in the zones that the server may be in; it is in %s", type,
                        names ? names : "");
        return PRVNG_DONE;
}

static void check_zones(struct check *c, size_t i, const char *field, const json_t *names)
{
        _cleanup_(cleanup_free) char *all = list_of(c->zones);
        json_t *v;
        size_t k;

        json_array_foreach (names, k, v) {
                const char *zone = json_is_string(v) ? json_string_value(v) : aws_string(v, "zone", "");

                if (*zone && !holds(c->zones, zone))
                        problem(c, i, field, "there is no zone %s; there are %s", zone, all ? all : "");
        }
}

static int32_t check_image(struct check *c, size_t i, const json_t *wanted, struct fault *f)
{
        _cleanup_(cleanup_json) json_t *image = NULL;

        if (image_find(c->a, c->call, wanted, &image, f) == PRVNG_DONE)
                return PRVNG_DONE;
        if (f->error_class == PRVNG_TRANSIENT || f->error_class == PRVNG_RATE_LIMITED || f->error_class == PRVNG_AUTH)
                return f->error_class;
        problem(c, i, "spec.image", "%s", f->message);
        return PRVNG_DONE;
}

static int32_t check_key(struct check *c, size_t i, const char *name, struct fault *f)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};

        if (!*name || strncmp(name, "prvng-", 6) == 0)
                return PRVNG_DONE;
        query_begin(&q, "DescribeKeyPairs", EC2_VERSION);
        query_add(&q, name, "KeyName.1");
        if (aws_ask(c->a, c->call, AWS_EC2, &q, &reply) == PRVNG_DONE)
                return PRVNG_DONE;
        *f = reply.fault;
        if (f->error_class != PRVNG_NOT_FOUND)
                return f->error_class;
        problem(c, i, "spec.aws.key_name", "there is no key pair %s in %s; import it, or give the key in ssh_keys", name,
                c->a->region);
        return PRVNG_DONE;
}

/* What prepare makes of it says what will be asked for; what it refuses is a problem by itself. */
static int32_t check_server(struct check *c, size_t i, const char *verb, const json_t *task, struct fault *f)
{
        _cleanup_(cleanup_json) json_t *out = json_object();
        const json_t *form;
        int32_t r;

        if (server_prepare(c->a, c->call, verb, task, out) < 0)
                return PRVNG_DONE; /* the plan, or the run, says so with its own words */
        form = json_object_get(out, "form");
        check_zones(c, i, "spec.zone", json_object_get(out, "places"));
        r = check_type(c, i, aws_string(form, "InstanceType", ""), json_object_get(out, "places"), f);
        if (r == PRVNG_DONE)
                r = check_image(c, i, json_object_get(out, "image"), f);
        return r == PRVNG_DONE ? check_key(c, i, aws_string(form, "KeyName", ""), f) : r;
}

static int32_t check_all(struct check *c, const json_t *tasks, struct fault *f)
{
        int32_t r = ask_zones(c, f);
        json_t *t;
        size_t i;

        json_array_foreach (tasks, i, t) {
                const json_t *task = json_object_get(t, "task"), *spec = json_object_get(task, "spec");
                const char *verb = aws_string(t, "verb", ""), *kind = aws_string(task, "kind", "");

                if (r < 0 || !(streq(verb, "create") || streq(verb, "update")))
                        continue;
                if (streq(kind, "server"))
                        r = check_server(c, i, verb, task, f);
                else if (streq(kind, "network"))
                        check_zones(c, i, "spec.zones", json_object_get(spec, "zones"));
        }
        return r;
}

static int32_t check(void *instance, struct prvng_call *call, const void *tasks, uint64_t n_tasks,
                     struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *j = json_loadb(tasks, (size_t)n_tasks, 0, NULL);
        _cleanup_(cleanup_json) json_t *out = json_pack("{s:[], s:[]}", "problems", "notices");
        _cleanup_(cleanup_json) json_t *zones = json_array(), *types = json_object();
        struct check c = {.a = instance, .call = call, .problems = json_object_get(out, "problems"),
                          .notices = json_object_get(out, "notices"), .zones = zones, .types = types};
        struct fault f;

        if (!json_is_object(j))
                return aws_fail(instance, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL, "aws: the tasks are no object");
        if (check_all(&c, json_object_get(j, "tasks"), &f) < 0)
                return aws_report(instance, call, &f, PRVNG_EFFECT_NONE, "AWS could not be asked");
        return aws_reply(instance, call, result, out);
}

const struct prvng_provider_precheck aws_precheck = {.struct_size = sizeof(aws_precheck), .check = check};
