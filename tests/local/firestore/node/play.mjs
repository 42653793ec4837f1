// The unchanged client for Node against the server at FIRESTORE_EMULATOR_HOST; what it saw goes out as one line of JSON.
import { FieldValue, Firestore, Timestamp } from "@google-cloud/firestore";

const db = new Firestore({ projectId: "demo-test" });
const cities = db.collection("cities");

const heard = [];
let told;
const unsubscribe = cities.where("size", ">", 1).onSnapshot((snapshot) => {
  heard.push(snapshot.docChanges().map((change) => [change.type, change.doc.id]));
  told?.();
});

async function hearing(count) {
  while (heard.length < count) await new Promise((resolve) => (told = resolve));
}

await hearing(1);
await cities.doc("bern").set({ size: 2, tags: ["old", "river"], at: new Timestamp(1700000000, 123456000), none: null });
await hearing(2);
await cities.doc("thun").set({ size: 1 });
await cities.doc("bern").update({ size: FieldValue.increment(1), tags: FieldValue.arrayRemove("old") });
await hearing(3);
const bern = (await cities.doc("bern").get()).data();

const increments = Array.from({ length: 10 }, () =>
  db.runTransaction(async (transaction) => {
    const found = await transaction.get(cities.doc("thun"));
    transaction.update(found.ref, { size: found.get("size") + 1 });
  }, { maxAttempts: 50 }),
);
await Promise.all(increments);
const bySize = await cities.where("size", ">=", 3).orderBy("size", "desc").get();
const total = await cities.count().get();
await cities.doc("bern").delete();
while (!heard.at(-1).some(([type]) => type === "removed")) await hearing(heard.length + 1);
unsubscribe();

const refused = await cities.doc("none").update({ size: 1 }).then(() => "nothing", (error) => error.code);
await db.terminate();
console.log(
  JSON.stringify({
    bern: { ...bern, at: bern.at.toDate().toISOString() },
    bySize: bySize.docs.map((each) => [each.id, each.get("size")]),
    total: total.data().count,
    heard: [...heard.slice(0, 3), heard.at(-1)],
    refused,
  }),
);
