/* SPDX-License-Identifier: Apache-2.0 */
/* What a restart costs: from the start of the engine until it goes on with the run in flight. */
#include "bench.h"

#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* `n_finished` tasks that are done, one that is pending when the engine ends, and `n_open` that wait for
 * it. */
static void definition(struct buf *b, unsigned n_finished, unsigned n_open)
{
        BUF_LIT(b, "{\"definition\":{\"name\":\"bench\",\"type\":\"parallel\",\"servers\":[{\"name\":"
                   "\"hold\",\"provider\":\"testcloud\",\"testcloud\":{\"pending_ms\":3600000}}],"
                   "\"operations\":[");
        for (unsigned i = 0; i < (n_open ? 2 : 1); i++) {
                buf_printf(b, "{\"id\":\"%s\",\"type\":\"create\",\"target\":\"server\",%s\"items\":[",
                           i ? "open" : "finished", i ? "\"depends_on\":[\"hold\"]," : "");
                for (unsigned k = 0; k < (i ? n_open : n_finished); k++)
                        buf_printf(b, "%s\"%c%u\"", k ? "," : "", i ? 'o' : 'f', k);
                BUF_LIT(b, "]},");
        }
        BUF_LIT(b, "{\"id\":\"hold\",\"type\":\"create\",\"target\":\"server\",\"timeout\":7200,"
                   "\"items\":[\"hold\"]}]}}");
}

/* [loop] Asking for the status of so many tasks would hold the engine up. */
static void count_done(void *userdata, const char *run, uint64_t seq, const char *line, size_t n_line)
{
        if (memmem(line, MIN(n_line, (size_t)100), "\"type\":\"done\"", 13))
                __atomic_add_fetch((unsigned *)userdata, 1, __ATOMIC_RELAXED);
}

void bench_prepare(struct bench *b, unsigned n_finished, unsigned n_open)
{
        struct timespec pause = {.tv_nsec = 20000000};
        struct buf body = BUF_NULL;
        unsigned n_done = 0;

        bench_open(b, "file", "noop");
        b->hooks.on_record = count_done;
        b->hooks.userdata = &n_done;
        bench_start(b);
        definition(&body, n_finished, n_open);
        bench_submit(b, &body);
        while (__atomic_load_n(&n_done, __ATOMIC_RELAXED) < n_finished)
                nanosleep(&pause, NULL);
        bench_stop(b);
        b->hooks = (struct engine_process_hooks){0};
        buf_deinit(&body);
}

void bench_restart(void)
{
        struct bench b;
        double start;

        bench_prepare(&b, 100000, 10000);
        start = seconds();
        bench_start(&b);
        print("engine.restart_100k.ms", (seconds() - start) * 1e3, "ms");
        bench_stop(&b);
        bench_close(&b);
}

/* One restart, in a process of its own, whose memory has never been touched; its time in ms is the
 * output. */
int resume_once(const char *conf)
{
        struct bench b = {.lock = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER};
        double start;

        if (context_open(conf, NULL, &b.context))
                bench_fail("the site cannot be used");
        start = seconds();
        bench_start(&b);
        printf("%.3f\n", (seconds() - start) * 1e3);
        bench_stop(&b);
        return 0;
}

double bench_resume_in_child(const char *conf)
{
        char *const argv[] = {(char[]){"bench-engine"}, (char[]){"--resume"}, strdup(conf), NULL};
        posix_spawn_file_actions_t actions;
        char text[64] = "";
        int pipes[2], status;
        double ms;
        FILE *f;
        pid_t pid;

        if (pipe2(pipes, O_CLOEXEC) < 0)
                bench_fail("pipe: %s", strerror(errno));
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
        if (posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ) != 0)
                bench_fail("cannot run myself");
        posix_spawn_file_actions_destroy(&actions);
        close(pipes[1]);
        f = fdopen(pipes[0], "re");
        if (!f || !fgets(text, sizeof(text), f) || sscanf(text, "%lf", &ms) != 1)
                bench_fail("the restart failed");
        fclose(f);
        free(argv[2]);
        if (waitpid(pid, &status, 0) < 0 || status != 0)
                bench_fail("the restart failed");
        return ms;
}

static unsigned n_snapshots;

static int count_snapshot(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        n_snapshots += streq(path + ftw->base, "snapshot");
        return 0;
}

static int remove_snapshot(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        if (streq(path + ftw->base, "snapshot") && unlink(path) < 0)
                bench_fail("%s: %s", path, strerror(errno));
        return 0;
}

/* Cold: nothing of the store is in memory. First from the records alone, then with the snapshots that
 * the engines before have left. */
void bench_resume_1m(void)
{
        double cold[ROUNDS];
        struct bench b;

        bench_prepare(&b, 1000000, 0);
        for (unsigned i = 0; i < ROUNDS; i++) {
                nftw(b.store_folder, remove_snapshot, 16, FTW_PHYS);
                disk_forget_cache(b.store_folder);
                cold[i] = bench_resume_in_child(b.site.conf);
        }
        print("engine.resume_1m_tasks.ms", median(cold, ROUNDS), "ms");
        n_snapshots = 0;
        nftw(b.store_folder, count_snapshot, 16, FTW_PHYS);
        for (unsigned i = 0; i < ROUNDS && n_snapshots; i++) {
                disk_forget_cache(b.store_folder);
                cold[i] = bench_resume_in_child(b.site.conf);
        }
        if (n_snapshots)
                print("engine.resume_1m_tasks_snapshot.ms", median(cold, ROUNDS), "ms");
        else
                print_absent("engine.resume_1m_tasks_snapshot.ms", "the engine left no snapshot");
        bench_close(&b);
}
