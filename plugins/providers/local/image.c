/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The base image: which one a server gets, and that it is there. A recipe is all that decides what
 * is in the image; the image is named by the recipe's digest, so a changed recipe is another image.
 */
#include "local.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#define BUILD_ASK_MS 300

/* What every server has: enough to boot systemd, to be on the network and to install more. */
static const char *const packages[] = {"systemd-sysv",    "dbus", "udev",  "iproute2",
                                       "ca-certificates", "kmod", "procps"};

/* Run by mmdebstrap at the end, with the new root as $1. */
static const char hook[] =
        "set -e\n"
        /* Each server makes its own. */
        ": > \"$1/etc/machine-id\"\n"
        "rm -f \"$1/var/lib/dbus/machine-id\" \"$1\"/etc/ssh/ssh_host_* \"$1/etc/hostname\"\n"
        "rm -f \"$1/etc/resolv.conf\"\n"
        /* What is lost when the machine loses power is made again anyway. */
        "echo force-unsafe-io > \"$1/etc/dpkg/dpkg.cfg.d/prvng\"\n"
        /* apt in the background would hold the lock that an installation needs; the others have
         * nothing to act on in a server, or its start has done their work. */
        "for unit in console-getty.service getty@tty1.service apt-daily.timer"
        " apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer"
        " systemd-udevd.service systemd-udev-trigger.service dev-hugepages.mount"
        " sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount"
        " sys-fs-fuse-connections.mount systemd-remount-fs.service kmod-static-nodes.service"
        " systemd-tmpfiles-setup-dev.service systemd-sysusers.service systemd-random-seed.service"
        " systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-pstore.service"
        " systemd-modules-load.service systemd-firstboot.service systemd-repart.service; do\n"
        " ln -sf /dev/null \"$1/etc/systemd/system/$unit\"\n"
        "done\n"
        "ln -sf /lib/systemd/system/multi-user.target \"$1/etc/systemd/system/default.target\"\n"
        "for k in /etc/apt/keyrings /usr/share/keyrings /etc/apt/trusted.gpg.d; do\n"
        " [ -d \"$k\" ] || continue\n"
        " mkdir -p \"$1$k\"\n"
        " cp -rn \"$k/.\" \"$1$k/\"\n"
        "done\n";

/* A value of /etc/os-release; to be freed. */
static char *os_release(const char *key)
{
        _cleanup_(cleanup_fclose) FILE *f = fopen("/etc/os-release", "re");
        size_t n = strlen(key);
        char line[512];

        while (f && fgets(line, sizeof(line), f)) {
                if (strncmp(line, key, n) != 0 || line[n] != '=')
                        continue;
                char *value = line + n + 1;
                value[strcspn(value, "\n")] = '\0';
                size_t k = strlen(value);
                if (k >= 2 && value[0] == '"' && value[k - 1] == '"') {
                        value[k - 1] = '\0';
                        value++;
                }
                return strdup(value);
        }
        return strdup("");
}

bool image_matches(const char *wanted, const char *codename, const char *id, const char *version)
{
        static const char between[] = "-: _";
        size_t n = strlen(id);

        /* As other providers name it: "Debian GNU/Linux 12 (Bookworm)". */
        if (!*wanted || (*codename && strcasestr(wanted, codename)) || strcasecmp(wanted, id) == 0)
                return true;
        if (strncasecmp(wanted, id, n) != 0)
                return false;
        wanted += n;
        return streq(wanted + (*wanted && strchr(between, *wanted) ? 1 : 0), version);
}

static void add_source(json_t *list, const char *name, const char *text)
{
        json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "text", text));
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
        return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_source(const struct dirent *e)
{
        const char *dot = strrchr(e->d_name, '.');

        return e->d_name[0] != '.' && dot && (streq(dot, ".list") || streq(dot, ".sources"));
}

/* The machine's own package sources. */
static json_t *machine_sources(void)
{
        _cleanup_(cleanup_free) char *classic = NULL;
        json_t *list = json_array();
        struct dirent **entries = NULL;
        int n = scandir("/etc/apt/sources.list.d", &entries, is_source, by_name);

        if (local_read_text("/etc/apt/sources.list", &classic) == 0 && strstr(classic, "deb "))
                add_source(list, "sources.list", classic);
        for (int i = 0; i < n; i++) {
                _cleanup_(cleanup_free) char *path =
                        local_format("/etc/apt/sources.list.d/%s", entries[i]->d_name);
                _cleanup_(cleanup_free) char *text = NULL;

                if (path && local_read_text(path, &text) == 0)
                        add_source(list, entries[i]->d_name, text);
                free(entries[i]);
        }
        free(entries);
        return list;
}

static char *apt_settings(const struct local *l)
{
        return local_format("APT::Update::Error-Mode \"any\";\n%s%s%s%s%s%s",
                            l->http_proxy ? "Acquire::http::Proxy \"" : "",
                            l->http_proxy ? l->http_proxy : "", l->http_proxy ? "\";\n" : "",
                            l->https_proxy ? "Acquire::https::Proxy \"" : "",
                            l->https_proxy ? l->https_proxy : "", l->https_proxy ? "\";\n" : "");
}

static json_t *make_recipe(const struct local *l, const char *suite)
{
        _cleanup_(cleanup_free) char *settings = apt_settings(l);
        json_t *names = json_array(), *sources;

        for (size_t i = 0; i < N_ELEMENTS(packages); i++)
                json_array_append_new(names, json_string(packages[i]));
        if (l->apt_mirror) {
                _cleanup_(cleanup_free) char *line =
                        local_format("deb %s %s main\n", l->apt_mirror, suite);
                sources = json_array();
                add_source(sources, "prvng.list", line ? line : "");
        } else {
                sources = machine_sources();
        }
        json_t *j = json_pack("{s:i, s:s, s:o, s:o, s:s, s:s}", "format", LOCAL_FORMAT, "suite",
                              suite, "packages", names, "sources", sources, "apt_conf",
                              settings ? settings : "", "hook", hook);
        /* Without root the files belong to ids of this user, and are of use to nobody else. */
        if (geteuid() != 0)
                json_object_set_new(j, "user", json_integer((json_int_t)geteuid()));
        return j;
}

/* 16 hexadecimal digits of the recipe's digest. */
static char *digest_of(const json_t *recipe)
{
        _cleanup_(cleanup_free) char *text = json_dumps(recipe, JSON_COMPACT | JSON_SORT_KEYS);
        unsigned char d[EVP_MAX_MD_SIZE];
        unsigned int n = 0;

        if (!text || EVP_Digest(text, strlen(text), d, &n, EVP_sha256(), NULL) != 1)
                return NULL;
        return local_format("%02x%02x%02x%02x%02x%02x%02x%02x", d[0], d[1], d[2], d[3], d[4], d[5],
                            d[6], d[7]);
}

/* The last lines that the builder wrote, as one; `n` of them. To be freed; NULL if there are none.
 */
static char *last_lines(const char *path, int n)
{
        char *text = NULL;

        if (local_read_text(path, &text) < 0)
                return NULL;
        size_t k = strlen(text);
        while (k > 0 && text[k - 1] == '\n')
                text[--k] = '\0';
        char *p = text + k;
        while (p > text && (p[-1] != '\n' || --n > 0))
                p--;
        memmove(text, p, strlen(p) + 1);
        for (p = text; *p; p++)
                if (*p == '\n' || *p == '\r')
                        *p = ' ';
        return text;
}

static int32_t start_build(struct local *l, struct prvng_call *call, const char *cache,
                           const char *digest, const char *job, const char *log)
{
        _cleanup_(cleanup_free) char *program = local_program(l, "prvng-local-base");
        _cleanup_(cleanup_free) char *http =
                local_format("http_proxy=%s", l->http_proxy ? l->http_proxy : "");
        _cleanup_(cleanup_free) char *https =
                local_format("https_proxy=%s", l->https_proxy ? l->https_proxy : "");
        _cleanup_(cleanup_free) char *none =
                local_format("no_proxy=%s", l->no_proxy ? l->no_proxy : "");
        const char *argv[] = {program, cache, digest, NULL};
        const char *environment[8] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
                                      "HOME=/root"};
        struct prvng_spawn spawn = {
                .struct_size = sizeof(spawn), .argv = argv, .environment = environment};
        size_t n = 3;

        if (!program || !http || !https || !none)
                return PRVNG_INTERNAL;
        if (l->http_proxy)
                environment[n++] = http;
        if (l->https_proxy)
                environment[n++] = https;
        if (l->no_proxy)
                environment[n++] = none;
        unlink(log);
        return l->spawn->job_start(call, job, &spawn);
}

static int32_t build(struct local *l, struct prvng_call *call, const char *cache,
                     const char *digest, const json_t *recipe)
{
        _cleanup_(cleanup_free) char *folder = local_format("%s/recipes", cache);
        _cleanup_(cleanup_free) char *file = local_format("%s/recipes/%s.json", cache, digest);
        _cleanup_(cleanup_free) char *log = local_format("%s/recipes/%s.log", cache, digest);
        _cleanup_(cleanup_free) char *job = local_format("base.%s", digest);
        _cleanup_(cleanup_free) char *said = log ? last_lines(log, 1) : NULL;
        struct prvng_job_status status = {.struct_size = sizeof(status)};
        int r = folder ? local_make_folders(folder, 0755) : -ENOMEM;

        if (r == 0 && access(file, F_OK) < 0)
                r = local_write_json(file, recipe, false);
        if (r < 0)
                return local_fail(l, call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, NULL,
                                  "local: %s: %s", folder ? folder : cache, strerror(-r));
        int32_t k = l->spawn->job_status(call, job, 0, NULL, &status);
        if (k != PRVNG_DONE)
                return k;
        if (status.state == PRVNG_JOB_EXITED && status.exit_code != 0) {
                _cleanup_(cleanup_free) char *why = last_lines(log, 4);

                l->spawn->job_forget(call, job);
                return local_fail(l, call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, NULL,
                                  "local: the base image was not built: %s (all of it: %s)",
                                  why ? why : "no reason was given", log);
        }
        if (status.state == PRVNG_JOB_EXITED || status.state == PRVNG_JOB_KILLED)
                k = l->spawn->job_forget(call, job);
        if (k == PRVNG_DONE && status.state != PRVNG_JOB_RUNNING)
                k = start_build(l, call, cache, digest, job, log);
        if (k != PRVNG_DONE)
                return k;
        _cleanup_(cleanup_free) char *text = local_format(
                "building the base image (once, about half a minute)%s%s", said ? ": " : "",
                said ? said + (strncmp(said, "I: ", 3) == 0 ? 3 : 0) : "");
        l->host->progress(call, 100, text ? text : "building the base image");
        l->host->ask_again(call, BUILD_ASK_MS);
        return PRVNG_PENDING;
}

int32_t image_ready(struct local *l, struct prvng_call *call, const char *wanted, char **ret_root,
                    char **ret_name)
{
        _cleanup_(cleanup_free) char *codename = os_release("VERSION_CODENAME");
        _cleanup_(cleanup_free) char *id = os_release("ID");
        _cleanup_(cleanup_free) char *version = os_release("VERSION_ID");
        const char *cache = l->workdir->cache(l->host, "local");

        if (!cache || !codename || !id || !version)
                return local_fail(l, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                                  "local: the folder for base images cannot be made");
        if (!*codename)
                return local_fail(
                        l, call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, NULL,
                        "local: /etc/os-release names no VERSION_CODENAME; servers are built"
                        " from the machine's own Debian or Ubuntu release");
        if (!image_matches(wanted, codename, id, version))
                return local_fail(
                        l, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "spec.image",
                        "local: image \"%s\" cannot be had here: servers are built from the"
                        " machine's own release; write \"%s\" or \"%s-%s\", or leave it out",
                        wanted, codename, id, version);
        _cleanup_(cleanup_json) json_t *recipe = make_recipe(l, codename);
        _cleanup_(cleanup_free) char *digest = recipe ? digest_of(recipe) : NULL;
        _cleanup_(cleanup_free) char *root =
                digest ? local_format("%s/base/%s/root", cache, digest) : NULL;
        if (!root)
                return PRVNG_INTERNAL;
        if (access(root, F_OK) < 0)
                return build(l, call, cache, digest, recipe);
        /* Tells the builder of another image that this one is in use. */
        _cleanup_(cleanup_free) char *folder = local_format("%s/base/%s", cache, digest);
        if (folder)
                utimensat(AT_FDCWD, folder, NULL, 0);
        *ret_root = root;
        *ret_name = codename;
        root = codename = NULL;
        return PRVNG_DONE;
}
