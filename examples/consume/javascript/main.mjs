// Calls an API once a second, with the token of a mounted Secret.
import { readFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";

const url = process.env.API_URL ?? "https://api.idissuer.pl/v2/reports";
const tokenFile = process.env.TOKEN_FILE ?? "/run/idissuer/token";

// One request, with the token that is in the file now.
async function send() {
  const token = (await readFile(tokenFile, "utf8")).trim();
  return fetch(url, {
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(10_000),
  });
}

// After a 401, reads the file again and repeats the request once: the token may be replaced meanwhile.
async function get() {
  const response = await send();
  if (response.status !== 401) return response;
  await response.body?.cancel();
  return send();
}

for (;;) {
  try {
    const response = await get();
    await response.text();
    console.log(response.status);
  } catch (error) {
    console.error("failed:", error.cause ?? error);
  }
  await setTimeout(1000);
}
