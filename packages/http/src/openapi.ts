/** The OpenAPI 3.1 document of the API, made of its table. */
import { z } from 'zod'
import { ErrorBody, type Operation, operations } from './api.js'

type Json = Record<string, unknown>

export function openApiDocument(version: string): Json {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const [name, operation] of Object.entries<Operation>(operations)) {
    const path = (paths[operation.path] ??= {})
    path[operation.method.toLowerCase()] = describe(name, operation)
  }
  return {
    openapi: '3.1.0',
    info: { title: 'CloudFS node', version, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    paths,
  }
}

function describe(operationId: string, { summary, status, params, body, answer }: Operation): Json {
  const parameters = Object.entries(params?.shape ?? {}).map(([name, type]) => ({
    name,
    in: 'path',
    required: true,
    schema: schemaOf(type as z.ZodType, 'input'),
  }))
  return {
    operationId,
    summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: { required: true, content: jsonOf(body, 'input') } }),
    responses: {
      [String(status)]: { description: 'Done', content: jsonOf(answer, 'output') },
      default: {
        description: 'An error; docs/errors.md lists the codes',
        content: jsonOf(ErrorBody, 'output'),
      },
    },
  }
}

function jsonOf(type: z.ZodType, io: 'input' | 'output'): Json {
  return { 'application/json': { schema: schemaOf(type, io) } }
}

/** Each schema stands by itself: definitions that it shares with others are repeated in it. */
function schemaOf(type: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...schema } = z.toJSONSchema(type, { io, unrepresentable: 'any' })
  return schema
}
