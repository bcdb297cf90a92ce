// The service that the authors of the pinning service API test clients with.
import http from 'node:http'
import service from 'mock-ipfs-pinning-service'

const server = http.createServer(await service.setup({ token: process.argv[2], loglevel: 'error' }))
server.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` }))
})
