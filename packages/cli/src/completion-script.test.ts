import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { completionScript } from './completion-script.js'
import { buildProgram } from './program.js'

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'cloudfs-completion-'))
  writeFileSync(join(directory, 'script'), completionScript('bash', buildProgram()))
  writeFileSync(join(directory, 'image.raw'), '')
})
afterAll(() => {
  rmSync(directory, { recursive: true })
})

/** What bash offers at the end of `line`; `cloudfs ls` answers with one volume, `cloudfs nodes` with one host. */
function offers(line: string): string[] {
  const words = line.split(' ')
  const script = `
    cloudfs() { printf 'VOLUME NAME\\n0123abcd web\\n'; }
    source ./script
    COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}) COMP_CWORD=${String(words.length - 1)}
    _cloudfs
    printf '%s\\n' "\${COMPREPLY[@]}"`
  const text = execFileSync('bash', ['-uc', script], { cwd: directory, encoding: 'utf8' })
  return text.split('\n').filter((each) => each !== '')
}

test.each([
  ['commands', 'cloudfs newd', ['newdisk']],
  ['an alias', 'cloudfs nu', ['nuke']],
  ['commands behind a global option', 'cloudfs --json det', ['detach']],
  ['commands of a command', 'cloudfs dev st', ['start', 'stop']],
  ['options of a command', 'cloudfs newdisk --si', ['--size']],
  ['options of the program', 'cloudfs ls --js', ['--json']],
  ['names and ids of volumes', 'cloudfs attach ', ['0123abcd', 'web', 'image.raw', 'script']],
  ['ids of hosts', 'cloudfs evacuate 01', ['0123abcd']],
  ['a name that begins so', 'cloudfs attach we', ['web']],
  ['files for an image', 'cloudfs import im', ['image.raw']],
  ['files for the value of an option', 'cloudfs export web --store im', ['image.raw']],
])('bash completes %s', (_, line, wanted) => {
  expect(offers(line).sort()).toEqual([...wanted].sort())
})

test('the scripts for zsh and fish name every command', () => {
  const names = buildProgram().commands.map((command) => command.name())
  const zsh = completionScript('zsh', buildProgram())
  expect(zsh).toMatch(/^#compdef cloudfs\n/)
  const fish = completionScript('fish', buildProgram())
  for (const name of names) {
    expect(zsh).toContain(`'${name}')`)
    expect(fish).toContain(` -a ${name} `)
  }
})
