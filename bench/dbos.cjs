// SPDX-License-Identifier: Apache-2.0
// One DBOS workflow of N steps that do nothing, each durable before the next begins: ROUNDS times, seconds
// of each as a line. The database's address is in DBOS_SYSTEM_DATABASE_URL.
//
//      node dbos.cjs N ROUNDS
const {DBOS} = require("@dbos-inc/dbos-sdk");

async function steps(n) {
        for (let i = 0; i < n; i++)
                await DBOS.runStep(async () => i, {name: "step"});
        return n;
}

async function main() {
        const n = Number(process.argv[2]), rounds = Number(process.argv[3]);
        const workflow = DBOS.registerWorkflow(steps, {name: "steps"});

        DBOS.setConfig({
                name: "bench", applicationVersion: "1", logLevel: "error",
                systemDatabaseUrl: process.env.DBOS_SYSTEM_DATABASE_URL,
        });
        await DBOS.launch();
        await workflow(100); // warm
        for (let i = 0; i < rounds; i++) {
                const start = process.hrtime.bigint();

                if (await workflow(n) !== n)
                        throw new Error("not all steps ran");
                console.log(Number(process.hrtime.bigint() - start) / 1e9);
        }
        await DBOS.shutdown();
}

main().catch((e) => { console.error(e); process.exit(1); });
