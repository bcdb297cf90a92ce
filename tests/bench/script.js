// What a JavaScript engine does all day: calls, objects, strings, sorting.
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
const found = {};
let text = "";
for (let n = 0; n < 20000; n++) {
  const key = "k" + ((n * 7919) % 1009);
  found[key] = (found[key] || 0) + n % 13;
  if (n % 100 === 0) text += key + ",";
}
const sorted = Object.entries(found).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
print(fib(22), sorted.length, text.length, JSON.stringify(sorted.slice(0, 3)));
