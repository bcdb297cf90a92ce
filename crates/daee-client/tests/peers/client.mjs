// Imports a file as Kubo's own client does.
import './newer.mjs'
import fs from 'node:fs'
import { create } from 'kubo-rpc-client'

const client = create({ url: `${process.argv[2]}/api/v0` })
for await (const { root } of client.dag.import([fs.readFileSync(process.argv[3])])) {
  console.log(JSON.stringify({ root: root.cid.toString() }))
}
process.exit(0)
