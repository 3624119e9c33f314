// For nginx with njs: the module is part of the official image, and Debian has it as libnginx-mod-http-js.
import fs from 'fs';

function bearer() {
    return 'Bearer ' + fs.readFileSync('/run/idissuer/token', 'utf8').trim();
}

export default { bearer };
