#include "host.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* try SO LIBEXEC FOLDER CACHE VERB OPID TASK */
int main(int argc, char **argv)
{
        setenv("PRVNG_LIBEXEC_PATH", argv[2], 1);
        const struct prvng_host *h = test_host(argv[3], argv[4]);
        void *so = dlopen(argv[1], RTLD_NOW);
        if (!so) { puts(dlerror()); return 1; }
        int32_t (*entry)(const struct prvng_host *, const struct prvng_plugin **) = dlsym(so, "prvng_plugin_v1");
        const struct prvng_plugin *p; void *in; json_t *res = NULL;
        entry(h, &p);
        if (p->create(h, "{}", 2, &in)) return 1;
        const struct prvng_op *op = p->get_interface(in, PRVNG_OP);
        int64_t t = h->monotonic_ms();
        int32_t r = drive(op, in, argv[5], argv[6], json_loads(argv[7], 0, NULL), &res);
        printf("%d in %lld ms: %s [%s] %s\n", r, (long long)(h->monotonic_ms()-t), said.message, said.field, res ? json_dumps(res, JSON_INDENT(1)) : "");
}
