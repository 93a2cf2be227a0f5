// The context of a search result comes from texts.js: a page opened from disk may not fetch another.
window.fetch = (address) => Promise.resolve({
  text: () => `<main role="main">${TEXTS[address.replace(/^\.\//, "")] || " "}</main>`,
});

// A page whose title has words of the query comes first; who asks for "my own model" is asked about "your model".
const ASKED = (new URLSearchParams(location.search).get("q") || "").toLowerCase().replace(/\b(my|own)\b/g, "your")
  .split(/\s+/).filter(Boolean);
Scorer.score = ([, title, , about, score]) =>
  score + (about ? 0 : 20 * ASKED.filter((word) => title.toLowerCase().includes(word)).length);
