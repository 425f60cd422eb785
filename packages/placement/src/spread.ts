/**
 * Failure domains: which of several hosts keep a set of replicas spread widest.
 *
 * Domains form a tree (`berlin` holds `berlin/rack4`). From the top down, only the hosts in the domains with the fewest
 * replicas so far stay in. Taken greedily this is best: a replica goes to a domain that has one already only when every
 * domain with a good host has one. The outer level comes first: two sites with two replicas each are preferred to four
 * racks of which three are at one site, because the loss of a site must not take the majority where that can be had.
 */

/** The domains a zone label lies in, outermost first: `berlin`, `berlin/rack4`. The empty label lies in the domain ``. */
export function domainsOf(zone: string): string[] {
  const parts = zone.split('/')
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'))
}

/** Those of `hosts` that keep `chosen` and one of them spread widest; all of them if `chosen` is empty. */
export function widest<Host extends { readonly zone: string }>(
  hosts: readonly Host[],
  chosen: readonly { readonly zone: string }[],
): Host[] {
  let remaining = [...hosts]
  const depth = Math.max(0, ...hosts.map((host) => domainsOf(host.zone).length))
  for (let level = 0; level < depth; level++) {
    const counts = countByDomain(chosen, level)
    const countOf = (host: Host) => counts.get(domainAt(host.zone, level)) ?? 0
    const least = Math.min(...remaining.map(countOf))
    remaining = remaining.filter((host) => countOf(host) === least)
  }
  return remaining
}

/**
 * The innermost domain whose loss takes a majority of `chosen` with it, while another domain beside it has hosts;
 * `undefined` if there is none. Hosts without a label are not known to share anything, so they are no such domain.
 */
export function majorityDomain(
  chosen: readonly { readonly zone: string }[],
  all: readonly { readonly zone: string }[],
): { domain: string; count: number } | undefined {
  const majority = Math.floor(chosen.length / 2) + 1
  const depth = Math.max(0, ...all.map((host) => domainsOf(host.zone).length))
  let found: { domain: string; count: number } | undefined
  for (let level = 0; level < depth; level++) {
    const places = new Set(all.map((host) => domainAt(host.zone, level)))
    for (const [domain, count] of countByDomain(chosen, level)) {
      if (!/(^|\/)$/.test(domain) && count >= majority && places.size > 1) found = { domain, count }
    }
  }
  return found
}

/** A label that ends above `level` names a domain of its own there: the hosts of `berlin` without a rack. */
function domainAt(zone: string, level: number): string {
  const domains = domainsOf(zone)
  return domains[level] ?? `${zone}${'/'.repeat(level - domains.length + 1)}`
}

function countByDomain(hosts: readonly { readonly zone: string }[], level: number): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { zone } of hosts) {
    const domain = domainAt(zone, level)
    counts.set(domain, (counts.get(domain) ?? 0) + 1)
  }
  return counts
}
