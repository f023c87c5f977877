"use strict";
const svg = document.getElementById("plan");
const nodes = [...document.querySelectorAll(".node")];
const edges = [...document.querySelectorAll("#edges path")];
const lines = [...document.querySelectorAll("#source li")];

function show(chosen) {
  const ids = new Set(chosen.map((node) => node.dataset.id));
  const near = new Set(ids);
  for (const edge of edges) {
    const on = ids.has(edge.dataset.from) || ids.has(edge.dataset.to);
    edge.classList.toggle("on", on);
    if (on) { near.add(edge.dataset.from); near.add(edge.dataset.to); }
  }
  svg.classList.toggle("picked", chosen.length > 0);
  for (const node of nodes) {
    node.classList.toggle("on", near.has(node.dataset.id));
    node.classList.toggle("here", ids.has(node.dataset.id));
  }
  const at = new Set(chosen.map((node) => node.dataset.line));
  for (const line of lines) line.classList.toggle("on", at.has(line.dataset.line));
}

for (const node of nodes) {
  const pick = (event) => {
    event.stopPropagation();
    show([node]);
    const line = lines.find((line) => line.dataset.line === node.dataset.line);
    if (line) line.scrollIntoView({ block: "nearest" });
  };
  node.addEventListener("click", pick);
  node.addEventListener("keydown", (event) => { if (event.key === "Enter") pick(event); });
}
svg.addEventListener("click", () => show([]));
for (const line of lines) line.addEventListener("click", () => show(nodes.filter((node) => node.dataset.line === line.dataset.line)));

document.getElementById("search").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().trim();
  const hits = words ? nodes.filter((node) => node.dataset.text.includes(words)) : [];
  show(hits);
  document.getElementById("found").textContent = words ? `${hits.length} of ${nodes.length}` : "";
  if (hits.length) hits[0].scrollIntoView({ block: "nearest", inline: "center" });
});
