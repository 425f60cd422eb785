/** The OpenAPI 3.1 document of the API, made of its table. */
import { z } from 'zod'
import { ErrorBody, type Operation, operations } from './api.js'

type Json = Record<string, unknown>

export function openApiDocument(version: string): Json {
  const paths: Record<string, Record<string, unknown>> = {}
  const schemas: Json = {}
  for (const [name, operation] of Object.entries<Operation>(operations)) {
    const path = (paths[operation.path] ??= {})
    path[operation.method.toLowerCase()] = describe(name, operation, schemas)
  }
  return {
    openapi: '3.1.0',
    info: { title: 'CloudFS node', version, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    paths,
    components: { schemas },
  }
}

function describe(
  operationId: string,
  { summary, status, params, body, answer }: Operation,
  schemas: Json,
): Json {
  const parameters = Object.entries(params?.shape ?? {}).map(([name, type]) => ({
    name,
    in: 'path',
    required: true,
    schema: schemaOf(type as z.ZodType, 'input', schemas),
  }))
  return {
    operationId,
    summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: jsonOf(body, 'input', schemas) } }),
    responses: {
      [String(status)]: { description: 'Done', content: jsonOf(answer, 'output', schemas) },
      default: {
        description: 'An error; docs/errors.md lists the codes',
        content: jsonOf(ErrorBody, 'output', schemas),
      },
    },
  }
}

function jsonOf(type: z.ZodType, io: 'input' | 'output', schemas: Json): Json {
  return { 'application/json': { schema: schemaOf(type, io, schemas) } }
}

/** Schemas that have an id go among the document's components, where a reference finds them. */
function schemaOf(type: z.ZodType, io: 'input' | 'output', schemas: Json): Json {
  const { $schema: _, $defs = {}, ...schema } = z.toJSONSchema(type, { io, unrepresentable: 'any' })
  for (const [id, definition] of Object.entries($defs)) schemas[id] = moved(definition)
  return moved(schema)
}

function moved(schema: Json): Json {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/$defs/', '"#/components/schemas/')) as Json
}
