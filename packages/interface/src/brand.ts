/** A type of its own over another's values, so that ids that look alike do not mix. */

declare const brand: unique symbol

/** `Base` that only the makers of `Name` hand out. Costs nothing at run time. */
export type Brand<Base, Name extends string> = Base & { readonly [brand]: Name }
