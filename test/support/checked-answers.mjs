/**
 * Holds every answer under `/v1` that a test gets, or that a program gets which a test starts, against the OpenAPI document
 * which the same node serves. Vitest runs this before each file; programs get it by NODE_OPTIONS.
 */
const DOCUMENT_PATH = '/v1/openapi.json'
/** Of a program whose node answered what its document does not say. */
const EXIT_CODE = 70

const fetchUnchecked = globalThis.fetch
/** Vitest has this in the process of the test itself alone. */
const isTest = '__vitest_worker__' in globalThis
/** By origin: what checks its answers; nothing where no node is. */
const checkers = new Map()

async function checkerOf(origin) {
  const known = checkers.get(origin)
  if (known !== undefined) return known
  const served = await fetchUnchecked(`${origin}${DOCUMENT_PATH}`).catch(() => undefined)
  // No node, or it went away since: nothing says what it should have answered.
  if (served?.status !== 200) return undefined
  const document = await served.json().catch(() => undefined)
  // Some other program answers there.
  if (document?.openapi === undefined) return undefined
  const { Ajv2020 } = await import('ajv/dist/2020.js')
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true })
  ajv.addSchema(document, 'openapi')
  const checker = { document, ajv }
  checkers.set(origin, checker)
  return checker
}

/** @returns what is wrong with an answer; nothing if it is as the document says */
async function faultOf({ document, ajv }, method, path, response) {
  const segments = path.split('/')
  const template = Object.keys(document.paths).find((each) => {
    const parts = each.split('/')
    return (
      parts.length === segments.length && parts.every((part, i) => /^\{/.test(part) || part === segments[i])
    )
  })
  const operation = document.paths[template]?.[method.toLowerCase()]
  // What is asked at no path of the document is refused as all else is.
  const [place, responses] =
    operation === undefined
      ? [anyOperation(document), {}]
      : [`${escaped(template)}/${method.toLowerCase()}`, operation.responses]
  const status = String(response.status)
  const name = status in responses ? status : 'default'
  if (name === 'default' && response.ok) return `status ${status} is not in the document`
  const reference = `openapi#/paths/${place}/responses/${name}/content/application~1json/schema`
  let value
  try {
    value = await response.clone().json()
  } catch {
    return 'it is not JSON'
  }
  const validate = ajv.getSchema(reference)
  return validate(value) ? undefined : `${ajv.errorsText(validate.errors)}: ${JSON.stringify(value)}`
}

function anyOperation(document) {
  const [path, operations] = Object.entries(document.paths)[0]
  return `${escaped(path)}/${Object.keys(operations)[0]}`
}

/** As a part of a JSON pointer in the fragment of a URI. */
function escaped(path) {
  return encodeURIComponent(path.replaceAll('~', '~0').replaceAll('/', '~1'))
}

async function fetchChecked(input, init) {
  const response = await fetchUnchecked(input, init)
  const { origin, pathname } = new URL(input instanceof Request ? input.url : String(input))
  if (!pathname.startsWith('/v1/') || pathname === DOCUMENT_PATH) return response
  const checker = await checkerOf(origin)
  if (checker === undefined) return response
  const method = init?.method ?? (input instanceof Request ? input.method : 'GET')
  const fault = await faultOf(checker, method, pathname, response)
  if (fault === undefined) return response
  const message = `${method} ${pathname} was answered otherwise than ${DOCUMENT_PATH} says: ${fault}`
  if (isTest) throw new Error(message)
  // In a program it could be taken for an error that the test expects.
  process.stderr.write(`${message}\n`)
  process.exit(EXIT_CODE)
}

globalThis.fetch = fetchChecked
if (isTest)
  process.env['NODE_OPTIONS'] = [process.env['NODE_OPTIONS'] ?? '', `--import=${import.meta.url}`]
    .join(' ')
    .trim()
