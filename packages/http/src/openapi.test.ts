import { expect, test } from 'vitest'
import { operations } from './api.js'
import { openApiDocument } from './openapi.js'

test('the document has every operation, and every reference in it leads somewhere', () => {
  const document = openApiDocument('1')
  const text = JSON.stringify(document)
  for (const name of Object.keys(operations)) expect(text).toContain(`"operationId":"${name}"`)
  const { schemas } = document['components'] as { schemas: Record<string, unknown> }
  const references = [...text.matchAll(/"\$ref":"([^"]*)"/g)].map((match) => match[1])
  expect(references.length).toBeGreaterThan(5)
  const known = Object.keys(schemas).map((id) => `#/components/schemas/${id}`)
  for (const reference of references) expect(known).toContain(reference)
})
