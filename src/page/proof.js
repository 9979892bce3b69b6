// Verifies a proof in front of whoever looks: descriptor, proof and key come in, every value is computed here (RFC 6962 hashes, c2sp.org
// checkpoint and signed note). Nothing the node says of the proof is believed but what the key signed.
"use strict";
(() => {
  const box = document.getElementById("proof");
  const text = new TextEncoder();
  const plain = new TextDecoder("utf-8", { fatal: true });
  const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  const sha256 = async (...parts) => {
    const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
    let at = 0;
    for (const p of parts) { all.set(p, at); at += p.length; }
    return new Uint8Array(await crypto.subtle.digest("SHA-256", all));
  };
  const base64 = (s) => {
    const bytes = Uint8Array.from(atob(s), (c) => c.charCodeAt(0));
    if (btoa(String.fromCharCode(...bytes)) !== s) throw new Error("base64 in another spelling");
    return bytes;
  };
  const same = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);
  const names = ["descriptor", "entry", "leaf", "path", "root", "name", "signature"];

  // A step's mark is a word in a colour, never a colour alone.
  function show(step, state, value) {
    const li = document.getElementById("step-" + step);
    const mark = li.querySelector(".mark");
    mark.className = "mark " + { good: "good", bad: "bad", off: "off" }[state];
    mark.textContent = { good: "✓ good", bad: "✗ fails", off: "not tried" }[state];
    li.querySelector("pre").textContent = value;
  }

  async function fetched(what) {
    const answer = await fetch("/page/sealing/" + box.dataset.uid + "/" + what, { cache: "no-store" });
    if (!answer.ok) throw new Error("the node has no " + what + " (" + answer.status + ")");
    return new Uint8Array(await answer.arrayBuffer());
  }

  // Where something is to be altered by way of trial, one character of that part becomes another.
  function altered(proof, what) {
    const other = (s, at) => s.slice(0, at) + (s[at] === "A" ? "B" : "A") + s.slice(at + 1);
    const [head, ...rest] = proof.split("\n\n");
    let note = rest.join("\n\n");
    const lines = head.split("\n");
    if (what === "path" && lines.length > 3) lines[3] = other(lines[3], 0);
    if (what === "path" && lines.length <= 3) lines[2] = "index 1";
    if (what === "checkpoint") {
      const of = note.split("\n");
      of[2] = other(of[2], 0);
      note = of.join("\n");
    }
    if (what === "signature") {
      const at = note.lastIndexOf("— ");
      const end = note.indexOf("\n", at);
      note = other(note, end - 20);
    }
    return lines.join("\n") + "\n\n" + note;
  }

  function parsed(proof) {
    const cut = proof.indexOf("\n\n");
    const lines = proof.slice(0, cut).split("\n");
    if (cut < 0 || lines[0] !== "c2sp.org/tlog-proof@v1" || !lines[1].startsWith("extra ") || !/^index (0|[1-9][0-9]{0,14})$/.test(lines[2])) {
      throw new Error("this is no proof (c2sp.org/tlog-proof@v1)");
    }
    const previous = JSON.parse(plain.decode(base64(lines[1].slice(6)))).previous;
    if (previous !== null && !/^[0-9a-f]{32}$/.test(previous)) throw new Error("the sealing that it replaces is in no form");
    const hashes = lines.slice(3).map(base64);
    if (hashes.length > 63 || hashes.some((h) => h.length !== 32)) throw new Error("the path has too many hashes, or some of another length");
    const note = proof.slice(cut + 2);
    const end = note.lastIndexOf("\n\n");
    if (end < 0) throw new Error("the checkpoint is not signed");
    return { previous, index: BigInt(lines[2].slice(6)), hashes, signed: note.slice(0, end + 1), signatures: note.slice(end + 2).split("\n") };
  }

  // RFC 6962 section 2.1.1, as RFC 9162 section 2.1.3.2 spells it out.
  async function climb(leaf, index, size, hashes) {
    let [fn, sn, at] = [index, size - 1n, leaf];
    const steps = [];
    for (const h of hashes) {
      if (sn === 0n) throw new Error("the path is longer than the tree is high");
      const left = (fn & 1n) === 1n || fn === sn;
      at = left ? await sha256(Uint8Array.of(1), h, at) : await sha256(Uint8Array.of(1), at, h);
      steps.push((left ? "left  " : "right ") + hex(h) + "\n    → " + hex(at));
      if (left) while ((fn & 1n) === 0n && fn !== 0n) { fn >>= 1n; sn >>= 1n; }
      fn >>= 1n;
      sn >>= 1n;
    }
    if (sn !== 0n) throw new Error("the path is shorter than the tree is high");
    return { root: at, steps };
  }

  async function signedBy(key, p) {
    const [name, id, rest] = [key.split("+")[0], key.split("+")[1], key.split("+").slice(2).join("+")];
    const packed = base64(rest || "");
    if (packed.length !== 33 || packed[0] !== 1) throw new Error("the key is no Ed25519 key in the form NAME+ID+BASE64");
    const own = (await sha256(text.encode(name), Uint8Array.of(10), packed)).slice(0, 4);
    if (hex(own) !== id) throw new Error("the key's id " + id + " is not that of its bytes, " + hex(own));
    const line = p.signatures.find((l) => l.startsWith("— " + name + " ") && same(base64(l.split(" ")[2]).slice(0, 4), own));
    if (!line) throw new Error("no signature of this key is on the checkpoint");
    const signature = base64(line.split(" ")[2]).slice(4);
    let good;
    try {
      const k = await crypto.subtle.importKey("raw", packed.slice(1), { name: "Ed25519" }, false, ["verify"]);
      good = await crypto.subtle.verify({ name: "Ed25519" }, k, signature, text.encode(p.signed));
    } catch (e) {
      throw new Error("this browser cannot check Ed25519 (" + e.name + "): use `datanode anchor verify`");
    }
    if (!good) throw new Error("the signature " + hex(signature) + " is not of this text by this key");
    return name + " " + id + "\n" + hex(signature);
  }

  async function verify() {
    names.forEach((n) => show(n, "off", ""));
    const verdict = document.getElementById("verdict");
    verdict.className = "";
    verdict.textContent = "Working…";
    let step = "descriptor";
    try {
      if (!window.crypto || !crypto.subtle) throw new Error("this browser has no WebCrypto here: open the page as http://127.0.0.1 or http://localhost");
      const alter = document.getElementById("alter").value;
      let raw = await fetched("descriptor");
      if (alter === "descriptor") {
        const s = plain.decode(raw);
        raw = text.encode(s.replace(/("object_len":)(\d)/, (_, a, d) => a + (d === "9" ? "8" : Number(d) + 1)));
      }
      const d = JSON.parse(plain.decode(raw));
      const objects = [...d.data_objects, ...d.manifest_objects, ...d.parity.objects];
      const sum = hex(await sha256(raw));
      if (d.pack_uid !== box.dataset.uid) throw new Error("it is of the sealing " + d.pack_uid);
      if (d.merkle_root !== box.dataset.root) throw new Error("its root is " + d.merkle_root + ", the pack's is " + box.dataset.root);
      show(step, "good", "sealing " + d.pack_uid + "\nroot    " + d.merkle_root + "\nsha256  " + sum);

      step = "entry";
      const whole = plain.decode(await fetched("proof"));
      const p = parsed(alter ? altered(whole, alter) : whole);
      const size = objects.reduce((n, o) => n + BigInt(o.object_len), 0n);
      const quoted = p.previous === null ? "null" : JSON.stringify(p.previous);
      const entry = '{"blake3_root":"' + d.merkle_root + '","descriptor_sha256":"' + sum + '","generation":' + d.generation +
        ',"pack_uid":"' + d.pack_uid + '","previous":' + quoted + ',"size":' + size + ',"type":"datanode-pack/v1"}\n';
      show(step, "good", entry.trim());

      step = "leaf";
      const leaf = await sha256(Uint8Array.of(0), text.encode(entry));
      show(step, "good", hex(leaf));

      step = "path";
      const [origin, count, root] = p.signed.split("\n");
      if (!/^(0|[1-9][0-9]{0,14})$/.test(count)) throw new Error("the checkpoint does not say how many entries there are");
      if (p.index >= BigInt(count)) throw new Error("entry " + p.index + " is not among the " + count + " of the checkpoint");
      const way = await climb(leaf, p.index, BigInt(count), p.hashes);
      show(step, "good", "entry " + p.index + " of " + count + "\n" + (way.steps.join("\n") || "the only entry: its leaf is the root"));

      step = "root";
      const want = base64(root);
      if (!same(way.root, want)) throw new Error("computed   " + hex(way.root) + "\ncheckpoint " + hex(want) + "\nThe descriptor, the path or the checkpoint was altered.");
      show(step, "good", hex(way.root));

      step = "name";
      const key = document.getElementById("key").value.trim();
      if (origin !== key.split("+")[0]) throw new Error("the checkpoint is of " + origin + ", the key of " + key.split("+")[0]);
      show(step, "good", origin);

      step = "signature";
      show(step, "good", await signedBy(key, p));
      verdict.className = "good";
      verdict.textContent = "Verified: this sealing stands in the log, as number " + p.index + " of " + count + ", and the key has signed that.";
    } catch (e) {
      show(step, "bad", e.message);
      verdict.className = "bad";
      verdict.textContent = "Not verified: it fails at step " + (names.indexOf(step) + 1) + ".";
    }
    box.dataset.done = step;
  }

  if (box) document.getElementById("verify").addEventListener("click", () => { delete box.dataset.done; verify(); });
})();
