/** How a volume is, in words that say what to do. */
import type { Answer } from '@cloudfs/http'
import { formatLack } from '@cloudfs/interface'

type Volume = Answer<'volume'>
type Replica = Volume['replicas'][number]
type Health = Answer<'status'>['volumes'][number]

/** @param hosts - the state of each host, as the node that is asked sees it */
export function healthOf(volume: Volume, hosts: ReadonlyMap<string, string>): Health {
  const { replicas, isServing } = volume
  const voters = replicas.filter(({ role }) => role !== 'learner')
  const majority = Math.floor(voters.length / 2) + 1
  const away = voters.filter(({ state }) => state === 'away')
  const behind = replicas.filter(({ state }) => state === 'behind')
  const primary = replicas.find(({ isPrimary }) => isPrimary)
  const base = { volume: volume.volume, name: volume.name, replicas }
  const presentCount = voters.length - away.length
  if (presentCount < majority) {
    const count = `${String(presentCount)} of ${String(voters.length)}`
    const remedy = remediesFor(away, (rest) => `start ${rest.map(({ host }) => host).join(', ')}`)
    return { ...base, state: 'paused', text: `paused: ${count} replicas answer; ${remedy}` }
  }
  if (!isServing) {
    const why =
      primary?.state === 'away'
        ? `its primary ${primary.host} is away`
        : 'no primary has a majority behind it'
    return { ...base, state: 'paused', text: `paused: ${why}; nothing to do, the others choose another` }
  }
  const data = replicas.filter(({ role }) => role === 'data')
  if (data.length === 1 && replicas.some(({ role }) => role === 'witness')) {
    const missed = replicas.filter(({ role }) => role === 'learner')
    const remedy = missed.every(({ state }) => state === 'behind')
      ? 'nothing to do, the other is catching up'
      : remediesFor(missed, (rest) => remedyFor(rest, hosts))
    const whom =
      missed.length === 0 ? 'add one: cloudfs replace' : `without ${missed.map(lackOf).join(', ')}; ${remedy}`
    return { ...base, state: 'degraded', text: `degraded: one data copy beside a witness, ${whom}` }
  }
  if (away.length > 0) {
    const text = `away: ${away.map(lackOf).join(', ')}; ${remediesFor(away, (rest) => remedyFor(rest, hosts))}`
    return { ...base, state: 'degraded', text }
  }
  if (behind.length > 0) {
    const remedy = remediesFor(behind, () => 'nothing to do, it is catching up')
    const text = `behind: ${behind.map(lackOf).join(', ')}; ${remedy}`
    return { ...base, state: 'degraded', text }
  }
  return { ...base, state: 'ok', text: 'in step' }
}

function lackOf({ host, behindBytes = 0, ...pace }: Replica): string {
  return behindBytes > 0 ? `${host} by ${formatLack({ behindBytes, ...pace })}` : host
}

/** @param remedyOf - those that were not refused; what to do about a refusal docs/errors.md says, by its code */
function remediesFor(replicas: readonly Replica[], remedyOf: (rest: readonly Replica[]) => string): string {
  const refused = replicas.flatMap(({ host, refusal }) =>
    refusal === undefined ? [] : [`${host} does not follow: ${refusal.code}: ${refusal.message}`],
  )
  const rest = replicas.filter(({ refusal }) => refusal === undefined)
  return [...refused, ...(rest.length === 0 ? [] : [remedyOf(rest)])].join('; ')
}

function remedyFor(away: readonly Replica[], hosts: ReadonlyMap<string, string>): string {
  const isUp = away.every(({ host }) => hosts.get(host) === 'up')
  return isUp
    ? 'that node is up and about to follow; if this stays, see its engine.log'
    : 'it catches up once that node is started'
}
