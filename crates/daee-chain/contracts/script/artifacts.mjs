// Writes or checks artifacts/*.json: ABI and bytecode of each contract, so that a Rust build needs no
// Solidity compiler. `--check` compares byte for byte with what the sources compile to now.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const contracts = ['TalosToken', 'NodeRegistry', 'DaeeManager', 'DaeeOutbox', 'PriceReader'];
const limit = 24576; // EIP-170
const check = process.argv.includes('--check');

execFileSync('node_modules/.bin/forge', ['build', '--force', '--skip', 'test'], { stdio: 'inherit' });
mkdirSync('artifacts', { recursive: true });
let stale = false;
for (const name of contracts) {
  const built = JSON.parse(readFileSync(`out/${name}.sol/${name}.json`));
  const size = built.deployedBytecode.object.length / 2 - 1;
  if (size > limit) throw new Error(`${name} is ${size} bytes, more than the ${limit} of EIP-170`);
  const text = `${JSON.stringify({ contract: name, abi: built.abi, bytecode: built.bytecode.object }, null, 1)}\n`;
  const path = `artifacts/${name}.json`;
  if (!check) writeFileSync(path, text);
  else if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
    stale = true;
    console.error(`${path} is not what src/ compiles to: run 'npm run artifacts' and commit it`);
  }
  console.log(`${name}: ${size} bytes`);
}
process.exit(stale ? 1 : 0);
