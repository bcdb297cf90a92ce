// What Helia makes of files and CARs: helia.mjs COMMAND ARGUMENT... prints one line of JSON.
import { createReadStream, createWriteStream } from 'node:fs'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { pipeline } from 'node:stream/promises'
import { CarBlockIterator, CarReader } from '@ipld/car'
import { car } from '@helia/car'
import { unixfs } from '@helia/unixfs'
import { MemoryBlockstore } from 'blockstore-core'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { sha256 } from 'multiformats/hashes/sha2'
import * as dagPb from '@ipld/dag-pb'

const blockstore = new MemoryBlockstore()
const codecs = { [raw.code]: raw, [dagPb.code]: dagPb }
const log = Object.assign(() => {}, { error () {}, trace () {}, newScope: () => log })
const helia = {
  blockstore,
  logger: { forComponent: () => log },
  getCodec: async code => codecs[code],
  getHasher: async () => sha256
}

const commands = {
  // Helia's own profile, and the importer below it with every setting said.
  async cid (file, out) {
    const cid = await unixfs(helia).addByteStream(createReadStream(file))
    const settings = {
      cidVersion: 1,
      rawLeaves: true,
      reduceSingleLeafToSelf: true,
      chunker: fixedSize({ chunkSize: 1 << 20 }),
      layout: balanced({ maxChildrenPerNode: 1024 })
    }
    let explicit
    for await (const { cid } of importer([{ content: createReadStream(file) }], blockstore, settings)) explicit = cid
    if (out != null) {
      const to = createWriteStream(out)
      for await (const piece of car(helia).export(cid)) if (!to.write(piece)) await once(to, 'drain')
      to.end()
      await once(to, 'finish')
    }
    return { cid: cid.toString(), explicit: explicit.toString() }
  },

  // Every block against its CID by the strict reader, then into Helia, then the parts back out.
  async import (file) {
    const blocks = await CarBlockIterator.fromIterable(createReadStream(file))
    for await (const { cid, bytes } of blocks) {
      const { digest } = await sha256.digest(bytes)
      if (Buffer.compare(digest, cid.multihash.digest) !== 0) throw new Error(`wrong block ${cid}`)
    }
    await car(helia).import(await CarReader.fromIterable(createReadStream(file)))
    const parts = []
    for (const root of await blocks.getRoots()) {
      const hash = createHash('sha256')
      let bytes = 0
      // As text, for the two libraries bring a class of CIDs each.
      for await (const piece of unixfs(helia).cat(CID.parse(root.toString()))) {
        hash.update(piece)
        bytes += piece.length
      }
      parts.push({ cid: root.toString(), sha256: hash.digest('hex'), bytes })
    }
    return { parts }
  }
}

const [command, ...rest] = process.argv.slice(2)
console.log(JSON.stringify(await commands[command](...rest)))
