/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/trust.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>

/* A folder below /tmp, which is sticky, with lib/plugin.so in it. */
static char folder[] = "/tmp/prvng-trust-XXXXXX";
static char lib[64], file[64], alias[64];

static void setup(void)
{
        int fd;

        cr_assert_not_null(mkdtemp(folder));
        snprintf(lib, sizeof(lib), "%s/lib", folder);
        snprintf(file, sizeof(file), "%s/lib/plugin.so", folder);
        snprintf(alias, sizeof(alias), "%s/alias", folder);
        cr_assert_eq(mkdir(lib, 0755), 0);
        fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        cr_assert_eq(write(fd, "abc", 3), 3);
        close(fd);
        cr_assert_eq(chmod(file, 0644), 0);
        cr_assert_eq(chmod(lib, 0755), 0);
}

static void teardown(void)
{
        unlink(alias);
        unlink(file);
        rmdir(lib);
        rmdir(folder);
}

TestSuite(trust, .init = setup, .fini = teardown);

/* The reason, or NULL if it is trusted. */
static char *reason_for(const char *path)
{
        _cleanup_(cleanup_free) char *real = NULL;
        char *reason = NULL;

        cr_assert_eq(trust_check(path, &real, &reason), 0);
        cr_assert((real != NULL) != (reason != NULL));
        if (real)
                cr_assert_str_eq(real, file);
        return reason;
}

static void expect(const char *path, const char *a, const char *b)
{
        _cleanup_(cleanup_free) char *reason = reason_for(path);

        cr_assert(reason && strstr(reason, a) && strstr(reason, b),
                  "\"%s\" does not say \"%s\", \"%s\"", reason ? reason : "(trusted)", a, b);
}

Test(trust, own_file_in_a_sticky_folder)
{
        cr_assert_null(reason_for(file));
}

Test(trust, writable_by_others)
{
        cr_assert_eq(chmod(file, 0664), 0);
        expect(file, "is writable by its group", "chmod go-w ");
        cr_assert_eq(chmod(file, 0646), 0);
        expect(file, "is writable by everybody", file);
        cr_assert_eq(chmod(file, 0644), 0);
        cr_assert_eq(chmod(lib, 0775), 0);
        expect(file, lib, "is writable by its group");
        cr_assert_eq(chmod(lib, 01777), 0);
        cr_assert_null(reason_for(file));
}

Test(trust, of_another_user)
{
        if (geteuid() != 0)
                cr_skip("giving files away needs root");
        cr_assert_eq(chown(lib, 12345, 0), 0);
        expect(file, lib, "belongs to user");
        cr_assert_eq(chown(lib, 0, 0), 0);
        cr_assert_eq(chown(file, 12345, 0), 0);
        expect(file, "(12345)", "chown root ");
        cr_assert_eq(chown(file, 0, 0), 0);
}

Test(trust, links_are_followed_and_judged)
{
        char path[96];

        cr_assert_eq(symlink("lib/../lib", alias), 0);
        snprintf(path, sizeof(path), "%s//./plugin.so", alias);
        cr_assert_null(reason_for(path));
        if (geteuid() == 0) {
                cr_assert_eq(lchown(alias, 12345, 0), 0);
                expect(path, alias, "belongs to user");
        }
        unlink(alias);
        cr_assert_eq(symlink(alias, alias), 0);
        expect(path, "symbolic links", alias);
        unlink(alias);
        cr_assert_eq(symlink(lib, alias), 0);
        cr_assert_eq(chmod(lib, 0777), 0);
        expect(path, lib, "is writable by everybody"); /* the target, not only the way to it */
}

Test(trust, what_is_no_file)
{
        expect(lib, "is not a file", lib);
        expect("/nonexistent/plugin.so", "/nonexistent", "No such file");
}

Test(trust, digest)
{
        _cleanup_(cleanup_close) int fd = open(file, O_RDONLY | O_CLOEXEC);
        char hex[TRUST_DIGEST];

        cr_assert_eq(trust_digest(fd, hex), 0);
        cr_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
