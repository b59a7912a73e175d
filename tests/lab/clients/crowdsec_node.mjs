// What a bouncer and a machine of the npm package do. Called with the address of the API, a key, a machine's name and its
// password; prints what each step comes to.

import { BouncerClient, WatcherClient } from "crowdsec-client";

const [url, apiKey, machineID, password] = process.argv.slice(2);
const say = (step, answer) => console.log(JSON.stringify({ step, answer: answer ?? null }));

const bouncer = new BouncerClient({ url, auth: { apiKey } });
await bouncer.login();
const stream = bouncer.Decisions.getStream({ interval: 500, scopes: ["ip", "range"] });
const followed = {};
const all = new Promise((resolve) => {
    stream.on("added", (decision) => {
        followed[decision.value] = decision.scenario;
        if (followed["192.0.2.7"] && followed["45.0.2.0/24"]) resolve(followed);
    });
});
stream.resume();
say("followed", await all);
const deleted = new Promise((resolve) => stream.on("deleted", (decision) => resolve(decision.value)));

const watcher = new WatcherClient({ url, auth: { machineID, password, autoRenew: false } });
await watcher.login();
const alerts = await watcher.Alerts.search({ has_active_decision: true });
say("alerts", alerts.map((alert) => alert.source.value).sort());
say("deleted", await watcher.Alerts.deleteById(alerts.find((alert) => alert.source.value === "192.0.2.7").id));
say("gone", await deleted);
stream.pause();
say("asked", await bouncer.Decisions.search({ ip: "45.0.2.9" }));
process.exit(0);
