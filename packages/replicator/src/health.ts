/** How a volume is, in words that say what to do. */
import type { Answer } from '@cloudfs/http'

type Volume = Answer<'volume'>
type Health = Answer<'status'>['volumes'][number]

export function healthOf({ volume, name, replicas }: Volume): Health {
  const voters = replicas.filter(({ role }) => role !== 'learner')
  const majority = Math.floor(voters.length / 2) + 1
  const present = voters.filter(({ state }) => state !== 'away')
  const away = voters.filter(({ state }) => state === 'away')
  const behind = replicas.filter(({ state }) => state === 'behind')
  const primary = replicas.find(({ isPrimary }) => isPrimary)
  const base = { volume, name, replicas }
  if (primary?.state === 'away') {
    return { ...base, state: 'paused', text: `paused: its primary ${primary.host} is away; start that node` }
  }
  if (present.length < majority) {
    const who = away.map(({ host }) => host).join(', ')
    return {
      ...base,
      state: 'paused',
      text: `paused: ${String(present.length)} of ${String(voters.length)} replicas answer; start ${who}`,
    }
  }
  if (away.length > 0) {
    const who = away.map(({ host }) => host).join(', ')
    return { ...base, state: 'degraded', text: `away: ${who}; it catches up once that node is started` }
  }
  if (behind.length > 0) {
    const how = behind.map(({ host, behindBytes }) =>
      behindBytes === undefined ? host : `${host} by ${String(behindBytes)} bytes`,
    )
    return { ...base, state: 'degraded', text: `behind: ${how.join(', ')}; nothing to do, it is catching up` }
  }
  return { ...base, state: 'ok', text: 'in step' }
}
