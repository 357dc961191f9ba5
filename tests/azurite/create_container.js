// node create_container.js ENDPOINT ACCOUNT KEY CONTAINER: creates a container, signed with the shared key of the account.
// https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
const { createHmac } = require("node:crypto");
const [endpoint, account, key, container] = process.argv.slice(2);
const url = new URL(`${endpoint}/${container}?restype=container`);
const headers = { "x-ms-date": new Date().toUTCString(), "x-ms-version": "2021-12-02" };
// PUT, eleven standard headers that are not sent, ours, then the path with the account before it.
const signed = ["PUT", ...Array(11).fill(""),
  ...Object.entries(headers).map(([name, value]) => `${name}:${value}`),
  `/${account}${url.pathname}`, "restype:container"].join("\n");
const signature = createHmac("sha256", Buffer.from(key, "base64")).update(signed).digest("base64");
fetch(url, { method: "PUT", headers: { ...headers, Authorization: `SharedKey ${account}:${signature}` } })
  .then(async (answer) => {
    if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
  })
  .catch((error) => { console.error(String(error)); process.exit(1); });
