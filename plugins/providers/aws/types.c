/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes by number: for definitions that say cpu and memory and no plan. Pure, so a table; from small to
 * large and, of what is equal, the cheaper family first. Any other type is had by its name (plan).
 */
#include "aws.h"

static const struct instance_type types[] = {
        {"t3.nano", 2, 512},          {"t3.micro", 2, 1024},        {"t3.small", 2, 2048},
        {"t3.medium", 2, 4096},       {"t3.large", 2, 8192},        {"r6i.large", 2, 16384},
        {"c6i.xlarge", 4, 8192},      {"t3.xlarge", 4, 16384},      {"r6i.xlarge", 4, 32768},
        {"c6i.2xlarge", 8, 16384},    {"t3.2xlarge", 8, 32768},     {"r6i.2xlarge", 8, 65536},
        {"c6i.4xlarge", 16, 32768},   {"m6i.4xlarge", 16, 65536},   {"r6i.4xlarge", 16, 131072},
        {"c6i.8xlarge", 32, 65536},   {"m6i.8xlarge", 32, 131072},  {"r6i.8xlarge", 32, 262144},
        {"c6i.12xlarge", 48, 98304},  {"m6i.12xlarge", 48, 196608}, {"r6i.12xlarge", 48, 393216},
        {"c6i.16xlarge", 64, 131072}, {"m6i.16xlarge", 64, 262144}, {"r6i.16xlarge", 64, 524288},
        {"m6i.24xlarge", 96, 393216}, {"r6i.24xlarge", 96, 786432}, {"c6i.32xlarge", 128, 262144},
        {"m6i.32xlarge", 128, 524288}, {"r6i.32xlarge", 128, 1048576},
};

const struct instance_type *type_by_name(const char *name)
{
        for (size_t i = 0; i < N_ELEMENTS(types); i++)
                if (streq(types[i].name, name))
                        return &types[i];
        return NULL;
}

const struct instance_type *type_for(double cpu, int64_t memory)
{
        for (size_t i = 0; i < N_ELEMENTS(types); i++)
                if (types[i].cpu >= cpu && types[i].memory >= memory)
                        return &types[i];
        return NULL;
}

const struct instance_type *type_largest(void)
{
        return &types[N_ELEMENTS(types) - 1];
}
